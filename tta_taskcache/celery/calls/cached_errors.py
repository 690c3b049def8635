"""Remembered failures (``cache_errors``): an exception as a stored result, and back.

Nothing is imported to make one again: the class is one of those that the policy names, or a
subclass that this process knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.outcome import Hit
from ...core.codec import json_dumps
from ...core.policy import Policy
from ...errors import UnserializableResult


def stored_form(error: BaseException) -> dict[str, Any]:
    """What is stored of an exception: its class, its text, and its arguments if JSON has them."""
    return {"type": _name(type(error)), "args": _plain(error.args), "text": str(error)}


def value_of(policy: Policy, hit: Hit) -> Any:
    """The value of a hit.

    Raises:
        Exception: What the run has raised, if that is what was stored.
    """
    if hit.entry.is_failure:
        raise _rebuilt(policy, hit.value)
    return hit.value


def _rebuilt(policy: Policy, stored: dict[str, Any]) -> Exception:
    known = {_name(kind): kind for named in policy.errors for kind in _with_subclasses(named)}
    kind = known.get(stored["type"]) or next(iter(policy.errors), RuntimeError)
    try:
        return kind(*(stored["args"] if stored["args"] is not None else (stored["text"],)))
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception:  # noqa: BLE001 - a constructor that takes something else than its args
        error = kind.__new__(kind)
        error.args = (stored["text"],)
        return error


def _plain(args: tuple[Any, ...]) -> list[Any] | None:
    try:
        json_dumps(list(args))
    except UnserializableResult:
        return None
    return list(args)


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _with_subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _with_subclasses(below)
