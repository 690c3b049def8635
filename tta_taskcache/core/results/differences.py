"""The differences of two results, in words: ``$.items[3].price: stored 5, returned 6``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

#: Most differences that are named, and characters of each value that are shown.
MOST = 10
SHOWN = 80

#: Structures deeper than this are compared as they are.
_DEPTH = 50


def differences(stored: Any, returned: Any) -> tuple[str, ...]:
    """Name the places in which two values differ, the first ``MOST`` of them; empty when equal.

    Types count as they do in keys: ``1``, ``1.0`` and ``True`` are different. NaN equals NaN, and
    objects without an equality of their own are compared by their attributes.
    """
    return tuple(islice(_compare(stored, returned, "$", 0), MOST))


def _compare(stored: Any, returned: Any, path: str, depth: int) -> Iterator[str]:
    if type(stored) is not type(returned) or depth > _DEPTH:
        if type(stored) is not type(returned) or not _equal(stored, returned):
            yield _line(path, stored, returned)
    elif isinstance(stored, Mapping):
        yield from _compare_mappings(stored, returned, path, depth)
    elif isinstance(stored, (list, tuple)):
        for i, (one, other) in enumerate(zip(stored, returned, strict=False)):
            yield from _compare(one, other, f"{path}[{i}]", depth + 1)
        if len(stored) != len(returned):
            yield f"{path}: stored {len(stored)} items, returned {len(returned)}"
    elif _has_no_equality(stored):
        yield from _compare_mappings(vars(stored), vars(returned), path, depth)
    elif not _equal(stored, returned):
        yield _line(path, stored, returned)


def _compare_mappings(
    stored: Mapping[Any, Any], returned: Mapping[Any, Any], path: str, depth: int
) -> Iterator[str]:
    for name in stored:
        if name in returned:
            yield from _compare(stored[name], returned[name], f"{path}.{name}", depth + 1)
        else:
            yield f"{path}.{name}: stored {_show(stored[name])}, returned without it"
    for name in returned:
        if name not in stored:
            yield f"{path}.{name}: stored without it, returned {_show(returned[name])}"


def _has_no_equality(value: Any) -> bool:
    own: Any = type(value).__eq__
    return own is object.__eq__ and hasattr(value, "__dict__")


def _equal(one: Any, other: Any) -> bool:
    # NaN is the value that isn't itself.
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124


def _line(path: str, stored: Any, returned: Any) -> str:
    return f"{path}: stored {_show(stored)}, returned {_show(returned)}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
