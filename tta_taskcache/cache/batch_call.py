"""Batches: calls whose items are calls of their own (``cache_each``, promise D5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.arguments.batch_items import unique
from ..core.entries.entry import Entry, Position
from ..core.entries.lease import Claim
from ..core.identity.keys import Identity
from ..core.options.policy import Policy
from ..core.record import record
from .engine.engine import Engine
from .outcome import Call, Hit, Miss
from .plan import Plan
from .side_by_side import side_by_side


@record
class BatchCall:
    """A call with ``cache_each``, by its different items.

    Attributes:
        calls: The call of each different item, in the order in which these come first.
        firsts: The place in the list where each comes first.
        places: For each place in the list, the number of its item among these.
    """

    calls: tuple[Call, ...]
    firsts: tuple[int, ...]
    places: tuple[int, ...]

    def in_order(self, values: Mapping[int, Any]) -> list[Any]:
        """Return the results in the order asked for, given each item's by its number."""
        return [values[number] for number in self.places]

    def with_max_age(self, max_age: float) -> BatchCall:
        """Return the batch of a caller who accepts no older answers."""
        return replace(self, calls=tuple(replace(call, max_age=max_age) for call in self.calls))


def make_batch(task: str, policy: Policy, identities: Sequence[Identity]) -> BatchCall:
    """Make a batch of the identities of a list's items."""
    firsts, places = unique([identity.key for identity in identities])
    found = [identities[first] for first in firsts]
    calls = tuple(Call(task, identity.key, policy, identity.tags) for identity in found)
    return BatchCall(calls, tuple(firsts), places)


def owner_of(token: str, number: int) -> str:
    """Return the owner of the lease of a batch's item."""
    return f"{token}.{number}"


def look_each(
    engine: Engine, calls: Sequence[Call], claims: Sequence[Claim | None]
) -> Plan[list[Hit | Miss]]:
    """Find the results of a batch's items, and claim the refreshes of the stale ones.

    Args:
        engine: The cache.
        calls: The calls of the items.
        claims: The claim of each, made when there is no result; None for none.
    """
    found = yield from engine.reader.find_many(calls, claims)
    due = {
        at: hit
        for at, hit in enumerate(found)
        if isinstance(hit, Hit) and hit.verdict.asks_for_refresh
    }
    if due:
        # One run refreshes them all.
        seconds = sum(hit.entry.run_seconds for hit in due.values())
        claim = engine.refresher.claim_refresh
        refreshed = yield from side_by_side(
            [claim(calls[at], hit, seconds) for at, hit in due.items()]
        )
        for at, outcome in zip(due, refreshed, strict=True):
            found[at] = outcome
    return found


def one_hit(task: str, hits: Sequence[Hit], value: list[Any]) -> Hit:
    """Return the hit of a whole batch: as old and as stale as the oldest of its items'.

    Args:
        task: The task's name.
        hits: The hits of its items; none for an empty list.
        value: The results in order.
    """
    if not hits:
        return Hit(_nothing(task), value, "l1", 0.0)
    oldest = max(hits, key=lambda hit: (hit.verdict.is_stale, hit.age))
    entry = replace(
        oldest.entry,
        payload=b"",
        run_seconds=sum(hit.entry.run_seconds for hit in hits),
        cost=sum(hit.entry.cost for hit in hits),
    )
    layer = max(hit.layer for hit in hits)  # where the last of them was found
    return replace(oldest, entry=entry, value=value, layer=layer, refresh=False)


def _nothing(task: str) -> Entry:
    """Return what stands for the entries of an empty list."""
    return Entry(
        key=task,
        task=task,
        task_id=None,
        created_at=0.0,
        lifetime=0.0,
        fresh_for=0.0,
        run_seconds=0.0,
        born=Position("", 0),
        marks=(),
        serializer="",
        compression=None,
        payload=b"",
    )
