"""Labels: the readable part of a key, from ``cache_key`` (promise K2)."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

from .canonical import Reduce, canonical

#: Stands between the parts of a key.
SEPARATOR = ":"

#: Characters that Redis patterns give a meaning.
GLOB = frozenset("*?[]\\^")

#: Longer values are cut in the label; the digest still tells them apart.
MAX_FIELD = 80

#: Turns bound arguments and vary values into a label.
Label = Callable[[Mapping[str, Any]], str]


def escape(text: str) -> str:
    """Percent-encode what could be a separator, a glob or a hash tag, as URLs do."""
    return quote(text[:MAX_FIELD], safe="@+=,~", errors="replace")


def shown(value: Any, reduce: Reduce) -> str:
    """What a label shows of a value: the same on both sides of a message (promise K1)."""
    match value:
        case str():
            return str.__str__(value)
        case None | bool() | Decimal() | UUID():
            return str(value)
        case int() | float():
            return (float if isinstance(value, float) else int).__repr__(value)
        case datetime():
            return datetime.isoformat(value)
        case date() | time():
            return value.isoformat()
    return canonical(value, reduce).decode("utf-8", "replace")


def template(text: str, allowed: Collection[str], *, option: str, reduce: Reduce) -> Label:
    """Compile a template such as ``"{user_id}:{model}"``.

    Raises:
        ValueError: A field isn't one of ``allowed``, or the text holds a glob character.
    """
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{option}={text!r}: {error}") from None
    names = [name for _, name, _, _ in fields if name is not None]
    for literal, name, spec, conversion in fields:
        if GLOB & set(literal) or "{" in literal or "}" in literal:
            raise ValueError(f"{option}={text!r}: {literal!r} holds a brace or one of * ? [ ] \\ ^")
        if name is not None and (spec or conversion):
            raise ValueError(f"{option}={text!r}: formats and conversions are not supported")
        if name is not None and name not in allowed:
            raise ValueError(
                f"{option}={text!r}: {name!r} is neither an argument nor a vary header; "
                f"allowed: {', '.join(sorted(allowed)) or 'none'}"
            )
    if not names:
        raise ValueError(
            f"{option}={text!r} names no argument; "
            f"use at least one of: {', '.join(f'{{{n}}}' for n in sorted(allowed)) or 'none'}"
        )

    def label(values: Mapping[str, Any]) -> str:
        return "".join(
            literal + (escape(shown(values[name], reduce)) if name is not None else "")
            for literal, name, _, _ in fields
        )

    return label


def from_callable(produced: Any, reduce: Reduce) -> str:
    """Make a label of what a ``cache_key`` callable returned: a text, or a tuple of parts."""
    if isinstance(produced, (list, tuple)):
        return SEPARATOR.join(escape(shown(part, reduce)) for part in produced)
    return escape(shown(produced, reduce))
