"""One byte string per meaning: the canonical form of arguments (promise K1).

Equal here means "equal after a trip through a Celery message": a tuple arrives as a list, dict
keys arrive as strings, ``datetime``, ``date``, ``time``, ``Decimal``, ``UUID`` and ``bytes`` arrive
as they left. Every piece is tagged with its type and strings carry their length, so two different
values never share a form: ``1``, ``1.0``, ``True`` and ``"1"`` differ, and so do a datetime and its
ISO text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..errors import UnkeyableArgument

#: Turns a value of a type unknown here into what its message carries, as the message's encoder
#: does it; raises ``TypeError`` for what a message can't carry.
Reduce = Callable[[Any], Any]

#: The dict that kombu's JSON uses to carry other types. A user's dict of this shape would arrive
#: as something else, so it gets no key.
_ENVELOPE = frozenset(("__type__", "__value__"))


def _refuse(_: Any) -> Any:
    raise TypeError


def canonical(value: Any, reduce: Reduce = _refuse) -> bytes:
    """Return the canonical bytes of ``value``.

    Args:
        value: Any value that a Celery message can carry.
        reduce: How values of other types become messages (kombu's encoder, in Celery).

    Raises:
        UnkeyableArgument: ``value`` holds something with no canonical form.
    """
    parts: list[str] = []
    try:
        _encode(value, parts.append, reduce)
    except ValueError:  # more digits than Python, and so JSON, writes
        raise UnkeyableArgument("an argument holds an integer of too many digits") from None
    except RecursionError:
        raise UnkeyableArgument("an argument refers to itself or is nested too deeply") from None
    return "".join(parts).encode("utf-8", "surrogatepass")


def _text(value: str) -> str:
    if not value.isascii():
        # Two halves of a surrogate pair arrive as the character they make.
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return f"s{len(value)}:{value}"


def _dict_key(key: Any) -> str:
    """What JSON makes of a dict key; the message does the same."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is True:
        return "true"
    if key is False:
        return "false"
    if key is None:
        return "null"
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return json.dumps(float(key))  # NaN and Infinity have names of their own
    raise UnkeyableArgument(
        f"a dict key of type {type(key).__name__!r} can't be part of a key; "
        "allowed: str, int, float, bool, None"
    )


def _encode_dict(value: Mapping[Any, Any], put: Callable[[str], None], reduce: Reduce) -> None:
    # As in a JSON object, the last of several keys with one spelling wins.
    items = {_dict_key(k): v for k, v in value.items()}
    if items.keys() == _ENVELOPE:
        raise UnkeyableArgument(
            "a dict with exactly the keys '__type__' and '__value__' arrives as another type"
        )
    put("{")
    for key in sorted(items):
        put(_text(key))
        _encode(items[key], put, reduce)
    put("}")


def _encode_set(value: Any, put: Callable[[str], None], reduce: Reduce) -> None:
    forms = []
    for item in value:
        parts: list[str] = []
        _encode(item, parts.append, reduce)
        forms.append("".join(parts))
    put("S{" + "".join(sorted(forms)) + "}")


def _encode(value: Any, put: Callable[[str], None], reduce: Reduce) -> None:
    kind = type(value)
    if kind is str:
        put(_text(value))
    elif value is None:
        put("n")
    elif value is True:
        put("t")
    elif value is False:
        put("f")
    elif kind is int:
        put(f"i{value};")
    elif kind is list or kind is tuple:
        put("[")
        for item in value:
            _encode(item, put, reduce)
        put("]")
    elif kind is dict:
        _encode_dict(value, put, reduce)
    else:
        _encode_other(value, put, reduce)


def _encode_other(value: Any, put: Callable[[str], None], reduce: Reduce) -> None:
    """Rarer types, and subclasses, which a message carries as their base type."""
    for kind, form in _SCALARS:
        if isinstance(value, kind):
            put(form(value))
            return
    if isinstance(value, (list, tuple)):
        _encode(list(value), put, reduce)
    elif isinstance(value, dict):
        _encode_dict(value, put, reduce)
    elif isinstance(value, (set, frozenset)):
        _encode_set(value, put, reduce)
    else:
        _encode_reduced(value, put, reduce)


#: In this order: a datetime is a date as well.
_SCALARS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (float, lambda value: f"d{float.__repr__(value)};"),
    (str, lambda value: _text(str.__str__(value))),
    (int, lambda value: f"i{int.__repr__(value)};"),
    ((bytes, bytearray), lambda value: f"b{bytes(value).hex()};"),
    (datetime, lambda value: f"T{datetime.isoformat(value)};"),
    (date, lambda value: f"D{value.isoformat()};"),
    (time, lambda value: f"H{value.isoformat()};"),
    (Decimal, lambda value: f"m{value};"),
    (UUID, lambda value: f"u{value.hex};"),
)


def _encode_reduced(value: Any, put: Callable[[str], None], reduce: Reduce) -> None:
    try:
        reduced = reduce(value)
    except TypeError:
        raise UnkeyableArgument(
            f"an argument of type {type(value).__module__}.{type(value).__qualname__} has no "
            "canonical form; pass plain data, or leave it out with cache_ignore"
        ) from None
    if isinstance(reduced, dict) and reduced.keys() == _ENVELOPE:
        put(f"j{_text(str(reduced['__type__']))}")
        _encode(reduced["__value__"], put, reduce)
    else:
        _encode(reduced, put, reduce)
