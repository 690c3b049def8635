"""The items of a batch: a call with ``cache_each``, whose items have an entry each (promise D5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import BatchArgumentError, BatchResultError

#: Most items that a message names.
NAMED = 3


def read_items(task: str, name: str, value: Any) -> Sequence[Any]:
    """Return the items of an argument.

    Args:
        task: The task's name.
        name: The argument's name.
        value: The argument.

    Raises:
        BatchArgumentError: It is no list or tuple, such as a generator, which can be read once.
    """
    if isinstance(value, (list, tuple)):
        return value
    kind = type(value).__name__
    hint = f"; write list({name})" if hasattr(value, "__next__") else ""
    raise BatchArgumentError(
        f"task {task!r}: cache_each={name!r}: the argument must be a list or a tuple, "
        f"not {kind}{hint}"
    )


def unique(keys: Sequence[str]) -> tuple[list[int], tuple[int, ...]]:
    """Number the different keys of a list in the order in which they come.

    Returns:
        The first place of each different key, and for each place the number of its key.
    """
    numbers: dict[str, int] = {}
    places = tuple(numbers.setdefault(key, len(numbers)) for key in keys)
    firsts = [0] * len(numbers)
    for place in range(len(keys) - 1, -1, -1):
        firsts[places[place]] = place
    return firsts, places


def read_results(task: str, items: Sequence[Any], returned: Any) -> list[Any]:
    """Return the result of each item, from what a body has returned for them.

    Args:
        task: The task's name.
        items: The items that the body got.
        returned: A list or tuple with a result for each, in their order; or a mapping by item,
            whose further keys aren't read.

    Raises:
        BatchResultError: There isn't a result for each item; the message has both numbers.
    """
    if isinstance(returned, Mapping):
        return _by_item(task, items, returned)
    if not isinstance(returned, (list, tuple)):
        raise BatchResultError(
            f"task {task!r}: returned {type(returned).__name__} for {len(items):,} items; with "
            "cache_each it must return a list in their order, or a dict by item"
        )
    if len(returned) != len(items):
        raise BatchResultError(
            f"task {task!r}: returned {len(returned):,} results for {len(items):,} items; with "
            "cache_each it must return one for each item that it was given"
        )
    return list(returned)


def _by_item(task: str, items: Sequence[Any], returned: Mapping[Any, Any]) -> list[Any]:
    try:
        missing = [item for item in items if item not in returned]
        results = [returned[item] for item in items if item in returned]
    except TypeError:
        raise BatchResultError(
            f"task {task!r}: returned a dict for items that can't be its keys; with cache_each it "
            "must then return a list in their order"
        ) from None
    if missing:
        named = ", ".join(map(_short, missing[:NAMED]))
        raise BatchResultError(
            f"task {task!r}: returned results for {len(results):,} of {len(items):,} items; "
            f"missing: {named}{', …' if len(missing) > NAMED else ''}"
        )
    return results


def _short(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 40 else f"{text[:39]}…"  # noqa: PLR2004 - a few on a line
