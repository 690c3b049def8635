"""``Explanation``: whether the cache would answer a call, and why."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from ...cache.outcome import Hit
from ...core.entries.decide import Verdict
from ...core.record import record
from ...semantic.neighbours import JudgedNeighbour
from ..lookup.nearest_entry import NearestSearch


@record(kw_only=True)
class Explanation:
    """Explanation of one call: whether the cache would answer it, and why.

    Attributes:
        task: The task's name.
        status: ``"hit"``, ``"miss"`` or ``"bypass"``.
        reason: The reason, in a sentence.
        key: The call's key; None when it has none.
        arguments: The call's arguments by name, with defaults.
        vary: The context headers in its key, with their values.
        layer: Of a hit: layer of the entry, ``"l1"`` or ``"l2"``; else None.
        age: Of a hit: seconds since the entry was stored; else None.
        remaining: Of a hit: seconds until it expires; else None.
        task_id: Of a hit: id of the task that computed it; None for ``task.cache``.
        stale: Whether a hit is past its ttl (RFC 5861).
        made_from: Of a hit: the keys of the entries that it was made from (promise D1), up to 64.
        search: For a call without an entry: the nearest stored call (``Nearest``).
        items: For a task with ``cache_each``: the explanation of each different item.
        neighbours: For such a call of a task with ``cache_semantic``: the nearest texts, each with
            its similarity and the reason why it doesn't answer (``JudgedNeighbour``).
    """

    task: str
    status: str
    reason: str
    key: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None
    age: float | None = None
    remaining: float | None = None
    task_id: str | None = None
    stale: bool = False
    made_from: tuple[str, ...] = ()
    search: NearestSearch | None = None
    items: tuple[Explanation, ...] = ()
    neighbours: tuple[JudgedNeighbour, ...] = ()

    def __str__(self) -> str:
        why = f"{self.reason}; {self.search}" if self.search is not None else self.reason
        near = "".join(f"\n  {neighbour}" for neighbour in self.neighbours)
        return f"{self.task}: {self.status}: {why}{near}"


#: Reasons of a miss, in a sentence.
REASONS = {
    "ended": "it is stale: it only stands in for a run that fails",
    "invalid": "the task's cache_validate refuses the stored result",
    "validate-failed": "the task's cache_validate has raised an exception",
    "absent": "nothing is stored: it was never run, it has expired, or it was evicted",
    "expired": "the entry has just expired",
    "too-old": "the entry is older than the block accepts (max_age)",
    "invalidated": "an invalidation has ended the entry",
    "serializer": "the entry was stored with another serializer or compression",
    "corrupt": "the bytes stored under this key are no entry",
    "format": "the entry was stored by another version of this library",
    "signature": "the entry's signature doesn't fit its bytes, its key and the secret",
    "log-lost": "Redis has lost the invalidation log: a new one is being started",
    "unavailable": "the store can't be reached",
    "too-large": "what is stored has more bytes than cache_max_bytes allows",
    "unknown-error": "a failure is remembered that this process can't raise as it was",
}


def describe(hit: Hit) -> str:
    """Say in a phrase what is stored, and how old it is."""
    what = "a failure, remembered" if hit.entry.is_failure else "stored"
    kind = "" if hit.verdict is Verdict.FRESH else f" ({hit.verdict.value})"
    return f"{what} {hit.age:.1f} s ago, for another {hit.remaining:.1f} s{kind}"
