"""Labels: the readable part of a key, from ``cache_key`` (promise K2)."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

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


def template(text: str, allowed: Collection[str], *, option: str) -> Label:
    """Compile a template such as ``"{user_id}:{model}"``.

    Raises:
        ValueError: A field isn't one of ``allowed``, or the text holds a glob character.
    """
    fields = list(string.Formatter().parse(text))
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
            literal + (escape(str(values[name])) if name is not None else "")
            for literal, name, _, _ in fields
        )

    return label


def from_callable(produced: Any) -> str:
    """Make a label of what a ``cache_key`` callable returned: a text, or a tuple of parts."""
    if isinstance(produced, (list, tuple)):
        return SEPARATOR.join(escape(str(part)) for part in produced)
    return escape(str(produced))
