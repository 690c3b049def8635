"""Templates over a call: the label of its key from ``cache_key`` (promise K2), and its tags."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

from ..errors import TooManyTags, UnkeyableArgument
from .canonical import EXACT, Form, canonical, carried_text
from .default_value import DefaultValue

#: Stands between the parts of a key.
SEPARATOR = ":"

#: Characters that Redis patterns give a meaning.
GLOB = frozenset("*?[]\\^")

#: Longer values are cut in the label; the digest still tells them apart.
MAX_FIELD = 80

#: More tags than this a call can't have: each is a mark that every lookup of it reads.
MAX_TAGS = 1_000

#: Turns bound arguments and vary values into a text.
Template = Callable[[Mapping[str, Any], Form], str]


def escape(text: str) -> str:
    """Percent-encode what could be a separator, a glob or a hash tag, as URLs do."""
    return quote(text[:MAX_FIELD], safe="@+=,~", errors="replace")


def shown(value: Any, form: Form) -> str:
    """What a label shows of a value: the same on both sides of a message (promise K1)."""
    match value:
        case str():
            return carried_text(str.__str__(value), form)
        case DefaultValue():
            return shown(value.value, EXACT)
        case None | bool() | Decimal() | UUID():
            return str(value)
        case int() | float():
            return (float if isinstance(value, float) else int).__repr__(value)
        case date() | time():
            return datetime.isoformat(value) if isinstance(value, datetime) else value.isoformat()
    return canonical(value, form).decode("utf-8", "replace")


#: The pieces of a template: literal text, and the name behind it, if any.
Pieces = list[tuple[str, str | None]]


def _parse(text: str, allowed: Collection[str], option: str) -> Pieces:
    """Split a template.

    Raises:
        ValueError: It can't be read, or a field isn't one of ``allowed``.
    """
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{option}={text!r}: {error}") from None
    for literal, name, spec, conversion in fields:
        if "{" in literal or "}" in literal:
            raise ValueError(f"{option}={text!r}: {literal!r} holds a brace")
        if name is not None and (spec or conversion):
            raise ValueError(f"{option}={text!r}: formats and conversions are not supported")
        if name is not None and name not in allowed:
            raise ValueError(
                f"{option}={text!r}: {name!r} is neither an argument nor a vary header; "
                f"allowed: {', '.join(sorted(allowed)) or 'none'}"
            )
    return [(literal, name) for literal, name, _, _ in fields]


def template(text: str, allowed: Collection[str], *, option: str) -> Template:
    """Compile a label such as ``"{user_id}:{model}"``.

    Raises:
        ValueError: It can't be read, a field isn't one of ``allowed``, it has none, or the text
            holds a glob character.
    """
    pieces = _parse(text, allowed, option)
    for literal, _ in pieces:
        if GLOB & set(literal):
            raise ValueError(f"{option}={text!r}: {literal!r} holds one of * ? [ ] \\ ^")
    if not any(name is not None for _, name in pieces):
        raise ValueError(
            f"{option}={text!r} names no argument; "
            f"use at least one of: {', '.join(f'{{{n}}}' for n in sorted(allowed)) or 'none'}"
        )

    def label(values: Mapping[str, Any], form: Form) -> str:
        return "".join(
            literal + (escape(shown(values[name], form)) if name is not None else "")
            for literal, name in pieces
        )

    return label


def tag(text: str, allowed: Collection[str], *, option: str) -> Template:
    """Compile a tag such as ``"user:{user_id}"``. Values are not escaped: tags match whole.

    Raises:
        ValueError: It can't be read, or a field isn't one of ``allowed``.
    """
    pieces = _parse(text, allowed, option)
    return lambda values, form: "".join(
        literal + (shown(values[name], form) if name is not None else "")
        for literal, name in pieces
    )


def from_callable(produced: Any, form: Form) -> str:
    """Make a label of what a ``cache_key`` callable returned: a text, or a tuple of parts.

    Args:
        produced: What it returned.
        form: JSON's; what that can't carry is shown as it is.
    """
    if isinstance(produced, (list, tuple)):
        return SEPARATOR.join(_escaped(part, form) for part in produced)
    return _escaped(produced, form)


def _escaped(value: Any, form: Form) -> str:
    try:
        return escape(shown(value, form))
    except UnkeyableArgument:
        return escape(shown(value, EXACT))


def tags_of_callable(produced: Any) -> tuple[str, ...]:
    """Check what a ``cache_tags`` callable returned.

    Raises:
        TypeError: It isn't a collection of strings.
        TooManyTags: There are more than ``MAX_TAGS``.
    """
    tags = tuple(produced)  # once: it may be a generator
    if isinstance(produced, str) or not all(isinstance(name, str) for name in tags):
        raise TypeError(f"cache_tags must return a collection of strings, not {produced!r}")
    if len(tags) > MAX_TAGS:
        raise TooManyTags(f"cache_tags returned {len(tags):,} tags; at most {MAX_TAGS:,} a call")
    return tags
