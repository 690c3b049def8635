"""The calls that a group is about to make, with what its prefetch has found of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from celery.result import AsyncResult

from ...core.record import record
from ..calls.lookup_result import LookupResult


@record
class GroupPrefetch:
    """The prefetched lookup of a call that a group is about to make.

    Attributes:
        lookup: The result of its lookup; None when the call has to look itself.
        result: The result object that the group keeps.
    """

    lookup: LookupResult | None
    result: AsyncResult


#: The calls that a group is about to make, by id. Not in the options of its signatures, which are
#: the user's and go into messages.
prefetched_calls: ContextVar[dict[str, GroupPrefetch]] = ContextVar("taskcache_group_calls")


def group_calls() -> dict[str, GroupPrefetch]:
    """Return the prefetched calls of the group that is being applied here, by their ids."""
    return prefetched_calls.get({})


@contextmanager
def in_group() -> Iterator[None]:
    """Collect the prefetched calls of the group that is applied inside."""
    token = prefetched_calls.set({})
    try:
        yield
    finally:
        prefetched_calls.reset(token)
