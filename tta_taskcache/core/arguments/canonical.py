"""One byte string per meaning: the canonical form of arguments (promises K1, K5).

The value that the task's body gets is canonicalised. A JSON message merges types: a tuple arrives
as a list, dict keys arrive as strings, subclasses arrive as their base type; ``datetime``,
``date``, ``time``, ``Decimal``, ``UUID`` and ``bytes`` arrive as they left. A pickled message keeps
types apart, and so do arguments that have arrived. Every piece is tagged with its type and
strings carry their length, so two different values never share a form: ``1``, ``1.0``, ``True`` and
``"1"`` differ, and so do a datetime and its ISO text.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ...errors import UnkeyableArgument
from ..record import record
from .default_value import DefaultValue

#: Reduces a value of another type to JSON's types, as the message's encoder does; raises
#: ``TypeError`` for a value that a message can't carry.
Reduce = Callable[[Any], Any]

#: The dict that kombu's JSON uses to carry other types. A user's dict of this shape would arrive
#: as something else, so it gets no key.
_ENVELOPE = frozenset(("__type__", "__value__"))


def _refuse(_: Any) -> Any:
    raise TypeError


@record
class Form:
    """The form in which values reach the body.

    Attributes:
        exact: Whether they arrive as they are; else as a JSON message carries them.
        reduce: Reduces values of other types to JSON's (kombu's encoder, in Celery); with
            ``exact``, those that came in a JSON message.
    """

    exact: bool
    reduce: Reduce = _refuse


EXACT = Form(exact=True)


def canonical(value: Any, form: Form = EXACT) -> bytes:
    """Return the canonical bytes of ``value``.

    Args:
        value: Any value.
        form: The form in which it reaches the body.

    Raises:
        UnkeyableArgument: ``value`` holds something with no canonical form.
    """
    parts: list[str] = []
    try:
        _encode(value, parts.append, form)
    except ValueError:  # an integer of more digits than Python converts to text
        raise UnkeyableArgument("an argument holds an integer of too many digits") from None
    except RecursionError:
        raise UnkeyableArgument("an argument refers to itself or is nested too deeply") from None
    return "".join(parts).encode("utf-8", "surrogatepass")


def unordered(value: Any) -> Any:
    """Sort each list and tuple in a value by its items, so that order doesn't count.

    Raises:
        UnkeyableArgument: ``value`` holds something with no canonical form.
    """
    if isinstance(value, (list, tuple)):
        return sorted((unordered(item) for item in value), key=canonical)
    if isinstance(value, dict):
        return {key: unordered(item) for key, item in value.items()}
    return value


def carried_text(value: str, form: Form) -> str:
    """A text as the body gets it: JSON makes one character of the halves of a surrogate pair."""
    if form.exact or value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _text(value: str) -> str:
    return f"s{len(value)}:{value}"


def _dict_key(key: Any) -> str:
    """Return a dict key as JSON writes it, and the message does."""
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


def _encode_dict(value: Mapping[Any, Any], put: Callable[[str], None], form: Form) -> None:
    if form.exact and any(type(key) is not str for key in value):
        _encode_pairs("K", value, put, form)
        return
    # As in a JSON object, the last of several keys with one spelling wins.
    items = {carried_text(_dict_key(k), form): v for k, v in value.items()}
    if not form.exact and items.keys() == _ENVELOPE:
        raise UnkeyableArgument(
            "a dict with exactly the keys '__type__' and '__value__' arrives as another type"
        )
    if len(items) < len(value):
        for item in value.values():
            _encoded(item, form)  # a message writes all of them, or it is none
    put("{")
    for key in sorted(items):
        put(_text(key))
        _encode(items[key], put, form)
    put("}")


def _encode_pairs(
    tag: str, value: Mapping[Any, Any], put: Callable[[str], None], form: Form
) -> None:
    """Encode a dict whose keys are kept apart by type."""
    put(tag + "{")
    put("".join(sorted(_encoded(key, form) + _encoded(item, form) for key, item in value.items())))
    put("}")


def _encoded(value: Any, form: Form) -> str:
    parts: list[str] = []
    _encode(value, parts.append, form)
    return "".join(parts)


def _encode_items(opening: str, value: Any, put: Callable[[str], None], form: Form) -> None:
    put(opening)
    for item in value:
        _encode(item, put, form)
    put("]")


def _encode(value: Any, put: Callable[[str], None], form: Form) -> None:
    kind = type(value)
    if kind is str:
        put(_text(carried_text(value, form)))
    elif value is None:
        put("n")
    elif value is True:
        put("t")
    elif value is False:
        put("f")
    elif kind is int:
        put(f"i{value};")
    elif kind is list:
        _encode_items("[", value, put, form)
    elif kind is tuple:
        _encode_items("([" if form.exact else "[", value, put, form)
    elif kind is dict:
        _encode_dict(value, put, form)
    elif form.exact or kind is DefaultValue:
        _encode_exactly(value, put, form)
    else:
        _encode_merged(value, put, form)


def _encode_merged(value: Any, put: Callable[[str], None], form: Form) -> None:
    """Encode rarer types, and subclasses, which a JSON message carries as their base type."""
    if hasattr(value, "__json__") and not isinstance(value, _NATIVE):
        _encode_reduced(value, put, form)
        return
    for kind, spell in _SCALARS.items():
        if isinstance(value, kind):
            put(spell(value))
            return
    if isinstance(value, str):
        put(_text(carried_text(str.__str__(value), form)))
    elif isinstance(value, (list, tuple)):
        _encode_items("[", value, put, form)
    elif isinstance(value, dict):
        _encode_dict(value, put, form)
    else:
        _encode_reduced(value, put, form)


#: What JSON's own encoder takes before it asks a value what it is in JSON.
_NATIVE = (str, int, float, list, tuple, dict)

#: Ordered: a datetime is a date as well.
_SCALARS: dict[type, Callable[[Any], str]] = {
    float: lambda value: f"d{float.__repr__(value)};",
    int: lambda value: f"i{int.__repr__(value)};",
    bytes: lambda value: f"b{value.hex()};",
    datetime: lambda value: f"T{datetime.isoformat(value)};",
    date: lambda value: f"D{value.isoformat()};",
    time: lambda value: f"H{value.isoformat()};",
    Decimal: lambda value: f"m{value};",
    UUID: lambda value: f"u{value.hex};",
}


def _encode_reduced(value: Any, put: Callable[[str], None], form: Form) -> None:
    try:
        reduced = form.reduce(value)
    except TypeError:
        raise _unkeyable(value) from None
    if isinstance(reduced, dict) and reduced.keys() == _ENVELOPE:
        put(f"j{_text(str(reduced['__type__']))}")
        _encode(reduced["__value__"], put, form)
    else:
        _encode(reduced, put, form)


def _encode_exactly(value: Any, put: Callable[[str], None], form: Form) -> None:
    """Encode a value that a body can tell from the one that JSON would make of it."""
    kind = type(value)
    if kind is DefaultValue:
        _encode(value.value, put, EXACT)
    elif (spell := _EXACT_SCALARS.get(kind)) is not None:
        put(spell(value))
    elif kind is set or kind is frozenset:
        put(("S{" if kind is set else "Z{") + "".join(sorted(_encoded(v, form) for v in value)))
        put("}")
    elif kind is OrderedDict:
        _encode_items("O[", value.items(), put, form)
    elif isinstance(value, tuple) and hasattr(kind, "_fields") and not hasattr(value, "__dict__"):
        _encode_items(f"N{_name(kind)}[", value, put, form)
    elif isinstance(value, Enum):
        put(f"e{_name(kind)}{_text(value.name or str(value.value))}")
    elif kind.__module__ == "numpy" and _is_plain_scalar(value):
        put(f"p{value.dtype.str}{value.tobytes().hex()};")
    else:
        _encode_reduced(value, put, Form(exact=False, reduce=form.reduce))


#: Kinds of numpy's scalars that their bytes determine: bool, integers, floats, complex, bytes,
#: text, datetimes and timedeltas.
_NUMPY = frozenset("biufcSUmM")


def _is_plain_scalar(value: Any) -> bool:
    return getattr(value, "shape", None) == () and value.dtype.kind in _NUMPY


def _zone(value: datetime | time) -> str:
    """Return zone and fold of a time, which its ISO text lacks; empty for what JSON keeps."""
    zone, fold = value.tzinfo, f"~{value.fold};" if value.fold else ""
    if zone is None:
        return fold
    if type(zone) is timezone:
        # One with a name of its own; others are called by their offset.
        name = zone.tzname(None)
        return (
            fold if name == timezone(zone.utcoffset(None)).tzname(None) else f"Z{_text(name)}{fold}"
        )
    if type(zone) is ZoneInfo and zone.key:
        return f"z{zone.key};{fold}"
    raise _unkeyable(zone)


def _name(kind: type) -> str:
    return _text(f"{kind.__module__}.{kind.__qualname__}")


def _unkeyable(value: Any) -> UnkeyableArgument:
    return UnkeyableArgument(
        f"an argument of type {type(value).__module__}.{type(value).__qualname__} has no "
        "canonical form; pass plain data, or leave it out with cache_ignore"
    )


_EXACT_SCALARS: dict[type, Callable[[Any], str]] = {
    **_SCALARS,
    datetime: lambda value: _SCALARS[datetime](value) + _zone(value),
    time: lambda value: _SCALARS[time](value) + _zone(value),
    timedelta: lambda value: f"L{value.days},{value.seconds},{value.microseconds};",
    complex: lambda value: f"c{value!r};",
    bytearray: lambda value: f"y{value.hex()};",
}
