"""The input of a warming: calls from a file, an iterable or a function, read one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from celery.canvas import Signature

from ...core.arguments.call_spec import CallSpec, lines, parse_call_spec

#: The place of a call in the input, for messages, and the call.
Source = Iterator[tuple[str, CallSpec]]


def read_calls(calls: Any, task: str, skip: int = 0) -> Source:
    """Read calls, one at a time.

    Args:
        calls: The path of a file of JSON lines, an iterable, or a function that returns one.
        task: Name of the task.
        skip: Number of first calls to leave out.

    Raises:
        TypeError: ``calls`` is none of these.
        ValueError: A call can't be read; the message says which.
        OSError: The file can't be read.
    """
    if callable(calls) and not isinstance(calls, Signature):
        calls = calls()
    if isinstance(calls, (str, os.PathLike)):
        return _of_file(os.fspath(calls), skip)
    if not isinstance(calls, Iterable) or isinstance(calls, (bytes, dict)):
        raise TypeError(
            f"calls={calls!r}: must be an iterable of calls, or the path of a file of JSON lines"
        )
    left = islice(enumerate(calls, 1), skip, None)
    return (_numbered(task, number, item) for number, item in left)


def _of_file(path: str, skip: int) -> Source:
    with Path(path).open(encoding="utf-8-sig") as file:
        yield from lines(file, path, skip)


def _numbered(task: str, number: int, item: Any) -> tuple[str, CallSpec]:
    where = f"call {number}"
    if isinstance(item, CallSpec):
        return where, item
    if isinstance(item, Signature):
        if item.task != task:
            raise ValueError(f"{where}: a signature of {item.task!r}, not of {task!r}")
        headers = item.options.get("headers") or {}
        return where, CallSpec(tuple(item.args), dict(item.kwargs), dict(headers))
    try:
        return where, parse_call_spec(item)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
