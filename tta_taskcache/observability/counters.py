"""Counters of events (promise F2), without locks.

Each thread counts in a dict of its own, so no increment is lost, and a fork or an interruption
leaves no lock behind. From time to time one thread takes the new counts and sends them along with a
command that goes to Redis anyway: the totals of all processes cost no round trip.
"""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from math import isfinite

from ..core.events import (
    Coalesced,
    Compared,
    Embedded,
    Event,
    Fault,
    Filled,
    Invalidated,
    Lookup,
    NoResult,
    Ran,
    Refused,
    Shadowed,
    Verified,
)
from ..core.record import record
from .metrics.hit_tally import COST, HITS, SAVED, HitTally
from .thread_ids import thread_ident

#: Seconds between two hand-overs to the shared totals.
FLUSH_INTERVAL = 1.0

#: Seconds after which a thread that takes counts must have been interrupted.
MAX_CLAIM = 60.0

_instances: weakref.WeakSet[Counters] = weakref.WeakSet()


class Counters:
    """Counts events under names such as ``hit|site|layer|task`` (see ``read_stats``).

    Attributes:
        hits: Further hits, which are counted without an event.
    """

    def __init__(self) -> None:
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        self.hits = HitTally()
        #: Counts by thread: the next thread of an ended one's id goes on with its dict.
        self._threads: dict[int, dict[str, float]] = {}
        #: Number of takes, and the totals of the last one; replaced whole.
        self._state: tuple[int, Counter[str]] = (0, Counter())
        self._returned: list[Mapping[str, float]] = []
        self._flushed_at = 0.0
        self._claims: dict[int, tuple[object, float]] = {}

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912 - a case each
        """Count an event."""
        match event:
            case Lookup(task=task, site=site, layer=str(layer)):
                self._add(f"hit|{site}|{layer}|{task}")
                self._save("coalesced" if event.coalesced else "saved", event)
                if event.freshness in ("stale", "stale-if-error"):
                    self._add(f"stale|{event.freshness}||{task}")
            case Lookup(task=task, site=site, reason=reason):
                self._add(f"miss|{site}|{reason}|{task}")
            case Compared(task=task, outcome=outcome):
                self._add(f"semantic|{_step(event.similarity)}|{outcome.replace('|', '-')}|{task}")
            case Embedded(task=task):
                self._add(f"embed|seconds||{task}", event.seconds)
                self._add(f"embed|cost||{task}", event.cost * event.texts)
            case Coalesced(task=task):
                self._add(f"coalesced|||{task}")
            case Ran(task=task):
                self._add(f"run|||{task}")
                if event.reason:
                    self._add(f"ran|{event.reason}||{task}")
                self._add(f"run|seconds||{task}", event.run_seconds)
                if event.cost:
                    self._add(f"run|cost||{task}", event.cost)
                if event.returned_none:
                    self._add(f"run|none||{task}")
            case NoResult(task=task, outcome=outcome):
                self._add(f"noresult|{outcome}||{task}")
            case Shadowed(task=task, found=found):
                self._add(f"shadow|{'hit' if found else 'miss'}||{task}")
                if found:
                    self._save("shadow", event)
            case Verified(task=task, outcome=outcome):
                self._add(f"verified|{outcome}||{task}")
                if event.similarity is not None and outcome in ("same", "different"):
                    self._add(f"semantic|{_step(event.similarity)}|{outcome}|{task}")
            case Filled(task=task, reason=reason):
                self._add(f"fill|{reason or 'stored'}||{task}")
            case Invalidated():
                self._add("invalidation|||")
            case Fault(task=task, operation=operation):
                self._add(f"fault|{operation}||{task}")
            case Refused(command=command):
                self._add(f"fault|{command}||")
            case _:
                pass

    def _save(self, kind: str, event: Lookup | Shadowed) -> None:
        self._add(f"{kind}|seconds||{event.task}", event.saved_seconds)
        if event.saved_cost:
            self._add(f"{kind}|cost||{event.task}", event.saved_cost)

    def _add(self, name: str, amount: float = 1.0) -> None:
        # An infinite or undefined amount would stay in the sums for ever.
        if not isfinite(amount):
            return
        mine = self._threads.setdefault(thread_ident(), {})
        mine[name] = mine.get(name, 0.0) + amount

    def totals(self) -> Counter[str]:
        """Return the totals of this process."""
        sums: Counter[str] = Counter()
        for counts in list(self._threads.values()):
            # copy() is one step: no other thread adds a name meanwhile.
            for name, amount in counts.copy().items():
                sums[name] += amount  # type: ignore[assignment]  # Counter adds floats as well
        for (task, site, layer), numbers in self.hits.read():
            found = {f"hit|{site}|{layer}|{task}": numbers[HITS]}
            found[f"saved|seconds||{task}"] = numbers[SAVED]
            if numbers[COST]:
                found[f"saved|cost||{task}"] = numbers[COST]
            sums.update(found)
        return sums

    def take(self, now: float, *, interval: float = FLUSH_INTERVAL) -> dict[str, float]:
        """Take the counts since the last take; none before the interval is over.

        Of several threads one takes. Counts that can't be delivered go to ``put_back``.
        """
        if now - self._flushed_at < interval:
            return {}
        self._flushed_at = now
        state = self._state
        number, flushed = state
        me = (object(), now)
        claim = self._claims.setdefault(number, me)
        if claim is not me:
            if now - claim[1] > MAX_CLAIM:  # interrupted between claim and end
                self._state = (number + 1, flushed)
            return {}
        if self._state is not state:  # another thread took them before this claim
            self._claims.pop(number, None)
            return {}
        totals = self.totals()
        new = Counter({n: amount - flushed[n] for n, amount in totals.items()})
        self._state = (number + 1, totals)
        self._claims.pop(number, None)
        while self._returned:
            try:
                new.update(self._returned.pop())
            except IndexError:
                break
        return {name: amount for name, amount in new.items() if amount}

    def put_back(self, counts: Mapping[str, float]) -> None:
        """Put back counts that couldn't be delivered, for the next take."""
        self._returned.append(counts)


def _step(similarity: float) -> str:
    """The hundredth that a similarity has reached."""
    return f"{min(100, max(0, int(similarity * 100 + 1e-9))) / 100:.2f}"


def _forget_in_child() -> None:
    # The parent hands over its counts itself.
    for counters in list(_instances):
        counters._reset()


os.register_at_fork(after_in_child=_forget_in_child)


@record
class TaskStats:
    """Totals of one task.

    Attributes:
        hits: Hits by site and layer, as ``"producer/l1"``.
        misses: Misses and bypasses by site and reason, as ``"pool/absent"``. One call may miss at
            each site, so a hit ratio is hits to hits and runs.
        stale: Hits past their ttl (RFC 5861), by window: ``"stale"`` while a refresh ran,
            ``"stale-if-error"`` for a failed run.
        coalesced: Hits that waited for an equal call in flight.
        runs: Runs that returned.
        run_reasons: The same runs, by the reason of the miss or bypass that they followed.
        no_results: Runs that ended without a result, by outcome: ``"failed"``, ``"retry"``,
            ``"ignore"`` or ``"reject"``.
        none_results: Runs that returned None.
        fills: Results by outcome: ``"stored"``, or the reason why not.
        run_seconds: Seconds spent in runs.
        run_cost: Cost of runs (``cache_cost``), in the user's unit.
        saved_seconds: Run time of the entries that hits served, less their lookups and less
            ``embed_seconds``, which may be more; coalesced hits aside.
        saved_cost: Cost of the runs of those entries, less ``embed_cost``.
        coalesced_seconds: Run time of the runs that coalesced hits waited for, once for each hit.
        coalesced_cost: Cost of those runs, likewise.
        shadow: In shadow mode: calls with (``"hit"``) and without (``"miss"``) an answer.
        shadow_seconds: Seconds that the former would have saved.
        shadow_cost: Cost that the former would have saved.
        verified: Runs that were compared with a stored result, by outcome.
        semantic: Calls that were compared with a neighbour (``cache_semantic``), by its similarity
            and the outcome, as ``"0.93/hit"``; of runs that were compared with a neighbour's
            result, as ``"0.93/same"`` and ``"0.93/different"``.
        embed_seconds: Seconds spent in embedding, for hits, misses and ``explain``.
        embed_cost: Cost of it.
    """

    hits: dict[str, int] = field(default_factory=dict)
    misses: dict[str, int] = field(default_factory=dict)
    stale: dict[str, int] = field(default_factory=dict)
    coalesced: int = 0
    runs: int = 0
    run_reasons: dict[str, int] = field(default_factory=dict)
    no_results: dict[str, int] = field(default_factory=dict)
    none_results: int = 0
    fills: dict[str, int] = field(default_factory=dict)
    run_seconds: float = 0.0
    run_cost: float = 0.0
    saved_seconds: float = 0.0
    saved_cost: float = 0.0
    coalesced_seconds: float = 0.0
    coalesced_cost: float = 0.0
    shadow: dict[str, int] = field(default_factory=dict)
    shadow_seconds: float = 0.0
    shadow_cost: float = 0.0
    verified: dict[str, int] = field(default_factory=dict)
    semantic: dict[str, int] = field(default_factory=dict)
    embed_seconds: float = 0.0
    embed_cost: float = 0.0


@record
class Stats:
    """Totals of all processes, or of this one.

    Attributes:
        tasks: Totals by task name.
        invalidations: Acknowledged invalidations.
        faults: Faults of the cache.
    """

    tasks: dict[str, TaskStats]
    invalidations: int = 0
    faults: int = 0


#: Separators in the name of a counter.
_BARS = 3

#: The fields of ``TaskStats`` that are sums of seconds and costs.
_SUMS = frozenset(f.name for f in fields(TaskStats) if f.name.endswith(("_seconds", "_cost")))


def sum_up(counts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Add counters up, by name."""
    sums: dict[str, float] = {}
    for some in counts:
        for name, amount in some.items():
            sums[name] = sums.get(name, 0.0) + amount
    return sums


def read_stats(counts: Mapping[str, float]) -> Stats:
    """Read counters by their names; names of another form are left out."""
    groups: dict[str, dict[str, dict[str, int]]] = {}
    sums: dict[str, dict[str, float]] = {}
    invalidations = faults = 0
    for name, amount in sorted(counts.items()):
        if name.count("|") < _BARS or not isfinite(amount):
            continue
        kind, first, second, task = name.split("|", _BARS)
        if kind == "invalidation":
            invalidations += int(amount)
        elif kind == "fault":
            faults += int(amount)
        elif f"{kind}_{first}" in _SUMS:
            sums.setdefault(task, {})[f"{kind}_{first}"] = amount
        else:
            label = f"{first}/{second}" if second else first
            groups.setdefault(task, {}).setdefault(kind, {})[label] = int(amount)
    tasks = {
        task: _task_stats(groups.get(task, {}), sums.get(task, {}))
        for task in sorted({*groups, *sums})
    }
    return Stats(tasks, invalidations, faults)


def _task_stats(counts: dict[str, dict[str, int]], sums: dict[str, float]) -> TaskStats:
    for unit in ("seconds", "cost"):
        if spent := sums.get(f"embed_{unit}"):
            sums[f"saved_{unit}"] = sums.get(f"saved_{unit}", 0.0) - spent
    return TaskStats(
        hits=counts.get("hit", {}),
        misses=counts.get("miss", {}),
        stale=counts.get("stale", {}),
        coalesced=counts.get("coalesced", {}).get("", 0),
        runs=counts.get("run", {}).get("", 0),
        run_reasons=counts.get("ran", {}),
        no_results=counts.get("noresult", {}),
        none_results=counts.get("run", {}).get("none", 0),
        fills=counts.get("fill", {}),
        shadow=counts.get("shadow", {}),
        verified=counts.get("verified", {}),
        semantic=counts.get("semantic", {}),
        **sums,
    )
