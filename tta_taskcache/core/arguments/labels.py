"""Templates over a call: the label of its key from ``cache_key`` (promise K2), and its tags."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

from ...errors import TooManyTags, UnkeyableArgument
from .canonical import EXACT, Form, canonical, carried_text
from .default_value import DefaultValue

#: Separator of the parts of a key.
SEPARATOR = ":"

#: Characters with a meaning in Redis' globs.
GLOB = frozenset("*?[]\\^")

#: Longer values are cut in the label; the digest still tells them apart.
MAX_FIELD = 80

#: Most tags of a call: each is a mark that every lookup of it reads.
MAX_TAGS = 1_000

#: Makes a text of bound arguments and vary values.
Template = Callable[[Mapping[str, Any], Form], str]


def escape(text: str) -> str:
    """Percent-encode separators, globs and hash tags in a text, as in URLs."""
    return quote(text[:MAX_FIELD], safe="@+=,~", errors="replace")


def shown(value: Any, form: Form) -> str:
    """Return the text of a value in a label, equal on both sides of a message (promise K1)."""
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
        ValueError: The template can't be parsed, or a field isn't one of ``allowed``.
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
        ValueError: The template can't be parsed, a field isn't one of ``allowed``, there is no
            field, or the text holds a glob character.
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
        ValueError: The template can't be parsed, or a field isn't one of ``allowed``.
    """
    pieces = _parse(text, allowed, option)
    return lambda values, form: "".join(
        literal + (shown(values[name], form) if name is not None else "")
        for literal, name in pieces
    )


def from_callable(produced: Any, form: Form) -> str:
    """Make a label of the return value of a ``cache_key`` callable: a text, or a tuple of parts.

    Args:
        produced: The return value.
        form: JSON's form; values that it can't carry are shown in the exact form.
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
    """Check the return value of a ``cache_tags`` callable.

    Raises:
        TypeError: The value isn't a collection of strings.
        TooManyTags: There are more than ``MAX_TAGS`` tags.
    """
    tags = tuple(produced)  # once: it may be a generator
    if isinstance(produced, str) or not all(isinstance(name, str) for name in tags):
        raise TypeError(f"cache_tags must return a collection of strings, not {produced!r}")
    if len(tags) > MAX_TAGS:
        raise TooManyTags(f"cache_tags returned {len(tags):,} tags; at most {MAX_TAGS:,} a call")
    return tags
