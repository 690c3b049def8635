"""Call specs: calls as people write them, as a list of arguments, keywords, or both by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from itertools import islice
from typing import Any

from ..record import record

#: An object with no other names than these, and with one of the first two, has both kinds of
#: arguments.
PARTS = ("args", "kwargs", "context")

ALLOWED = (
    'a list of arguments, an object of keyword arguments, or {"args": […], "kwargs": {…}, '
    '"context": {…}}'
)


@record
class CallSpec:
    """A call, as it was written.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        context: Context headers.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


def parse_call_spec(item: Any) -> CallSpec:
    """Read a call.

    Raises:
        ValueError: It has another form; the message names those that are allowed.
    """
    match item:
        case list() | tuple():
            return CallSpec(args=tuple(item))
        case Mapping() if set(item) <= set(PARTS) and ("args" in item or "kwargs" in item):
            args, kwargs = item.get("args", ()), item.get("kwargs", {})
            headers = item.get("context", {})
            if (
                isinstance(args, (list, tuple))
                and _is_named(kwargs)
                and _is_named(headers)
                and all(isinstance(value, (str, int, float)) for value in headers.values())
            ):
                return CallSpec(tuple(args), dict(kwargs), dict(headers))
        case Mapping() if _is_named(item):
            return CallSpec(kwargs=dict(item))
    raise ValueError(f"{_short(item)}: must be {ALLOWED}")


def lines(text: Iterable[str], name: str, skip: int = 0) -> Iterator[tuple[str, CallSpec]]:
    """Read calls from JSON lines, one at a time; blank lines are left out.

    Args:
        text: The lines.
        name: Name of the file, for messages.
        skip: Number of first calls to leave out, unread.

    Yields:
        The place of a call, for messages, and the call.

    Raises:
        ValueError: A line isn't a call; the message begins with file and line number.
    """
    filled = ((number, line) for number, line in enumerate(text, 1) if line.strip())
    for number, line in islice(filled, skip, None):
        where = f"{name}, line {number}"
        try:
            yield where, parse_call_spec(json.loads(line))
        except (ValueError, RecursionError) as error:
            what = f"no JSON: {error}" if isinstance(error, json.JSONDecodeError) else error
            raise ValueError(f"{where}: {what}") from None


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _short(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - a line
