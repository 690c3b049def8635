"""``task.cache`` of a task with ``cache_each``: the stored results of a list's items."""

from __future__ import annotations

from typing import Any

from ...cache.side_by_side import side_by_side
from ...core.arguments.batch_items import read_results
from ...core.entries import marks
from ...core.results.missing import MISSING
from ..calls.call_request import CallRequest, is_enabled
from .item_lookup import look_up_items, record_items, record_unkeyed


def get_items(call_request: CallRequest) -> list[Any]:
    """Return the stored results of a batch's items in order, with ``MISSING`` for the others."""
    batch = call_request.batch
    if batch is None:
        record_unkeyed(call_request, None)
        return [MISSING] * len(call_request.keyer.items(call_request.args, call_request.kwargs))
    numbers = range(len(batch.calls))
    found = look_up_items(call_request, None, numbers, [None] * len(numbers))
    record_items(call_request, found, None, are_answers=True)
    values = {number: hit.value for number, hit in found.hits.items()}
    return batch.in_order({number: values.get(number, MISSING) for number in numbers})


def set_items(call_request: CallRequest, values: Any) -> bool:
    """Store a result for each item, as if they had just run; return whether all were stored.

    Args:
        call_request: The batch.
        values: A list with a result for each place of the list, or a dict by item.

    Raises:
        UncacheableCall: An item has no key.
        BatchResultError: There isn't a result for each item.
    """
    batch, runtime = call_request.identified_batch(), call_request.runtime
    places = call_request.keyer.items(call_request.args, call_request.kwargs)
    results = read_results(call_request.task.name, places, values)
    if not is_enabled(call_request.task):
        return False
    if not batch.calls:
        return True
    writer = runtime.engine.writer
    position = runtime.run(writer.position(batch.calls[0]))
    fills = [
        writer.fill(
            call_request.of_item(places[first], call).with_traits(call),
            position,
            results[first],
            run_seconds=0.0,
            task_id=None,
            replaces=True,
        )
        for call, first in zip(batch.calls, batch.firsts, strict=True)
    ]
    return all(runtime.run(side_by_side(fills)))


def marks_of_items(call_request: CallRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the marks that end the entries of a batch's items, and their keys.

    Raises:
        UncacheableCall: An item has no key.
    """
    keys = tuple(call.key for call in call_request.identified_batch().calls)
    return tuple(map(marks.of_key, keys)), keys
