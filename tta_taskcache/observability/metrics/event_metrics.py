"""The measurements of events, for the metrics."""

from __future__ import annotations

from typing import Protocol

from ...core.events import (
    CircuitChanged,
    Coalesced,
    Compared,
    Embedded,
    Event,
    Evicted,
    Fault,
    Filled,
    Invalidated,
    InvalidationsRead,
    Lookup,
    Ran,
    Refused,
    Shadowed,
    Verified,
    Waiting,
)
from . import metric_families as f
from .metric_families import Family


class Sink(Protocol):
    """A sink of measurements."""

    def inc(self, family: Family, labels: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        ...

    def observe(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        """Add an observation to a histogram."""
        ...

    def put(self, family: Family, value: float) -> None:
        """Set a gauge of this process."""
        ...


def measure(event: Event, to: Sink) -> None:  # noqa: C901, PLR0912 - a case each
    """Send the measurements of an event to a sink."""
    match event:
        case Lookup():
            _lookup(event, to)
        case Coalesced(task=task, site=site):
            to.inc(f.COALESCED, (task, site))
            to.observe(f.LEASE_WAIT, (task, site), event.waited)
        case Compared(task=task, outcome=outcome):
            # Reasons of a user's own guard are no labels.
            known = outcome if outcome in ("hit", "shadow", "below-threshold") else "vetoed"
            to.observe(f.SIMILARITY, (task, known), event.similarity)
        case Embedded(task=task):
            to.observe(f.EMBED, (task,), event.seconds)
            if event.cost:
                to.inc(f.EMBED_COST, (task,), event.cost * event.texts)
        case Ran(task=task):
            to.observe(f.RUN, (task,), event.run_seconds)
            if event.cost:
                to.inc(f.RUN_COST, (task,), event.cost)
        case Filled(task=task, reason=""):
            to.inc(f.FILLS, (task,))
        case Filled(task=task, reason=reason):
            to.inc(f.FILLS_REFUSED, (task, reason))
        case Shadowed(task=task, found=False):
            to.inc(f.SHADOW_MISSES, (task,))
        case Shadowed(task=task):
            to.inc(f.SHADOW_HITS, (task,))
            _save(to, f.SHADOW_SECONDS, f.SHADOW_COST, event)
        case Verified(task=task, outcome=outcome):
            to.inc(f.VERIFICATIONS, (task, outcome))
        case Evicted(count=count):
            to.inc(f.EVICTIONS, (), count)
        case Invalidated():
            to.inc(f.INVALIDATIONS)
        case InvalidationsRead(count=count, lag=lag):
            for _ in range(count):
                to.observe(f.LAG, (), lag)
        case Waiting(count=count):
            to.put(f.FOLLOWERS, count)
        case CircuitChanged(open=is_open):
            to.put(f.CIRCUIT_OPEN, float(is_open))
            if is_open:
                to.inc(f.CIRCUIT_OPENED)
        case Fault(operation=operation) | Refused(command=operation):
            to.inc(f.ERRORS, (operation,))


def _lookup(event: Lookup, to: Sink) -> None:
    at = (event.task, event.site)
    if event.seconds is not None:
        to.observe(f.LATENCY, (*at, event.layer or "none"), event.seconds)
    if event.layer is None:
        to.inc(f.MISSES, (*at, event.reason))
        return
    to.inc(f.HITS, (*at, event.layer))
    if event.freshness in ("stale", "stale-if-error"):
        to.inc(f.STALE, (event.task, event.freshness))
    if event.coalesced:
        _save(to, f.COALESCED_SECONDS, f.COALESCED_COST, event)
    else:
        _save(to, f.SAVED_SECONDS, f.SAVED_COST, event)


def _save(to: Sink, seconds: Family, cost: Family, event: Lookup | Shadowed) -> None:
    to.inc(seconds, (event.task,), event.saved_seconds)
    if event.saved_cost:
        to.inc(cost, (event.task,), event.saved_cost)
