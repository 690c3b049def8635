"""Sweeps: freeing the memory of entries that invalidations have ended (promise I3).

An invalidation takes effect at once and leaves its entries where they are. A sweep reads through
all keys in batches, and rests for as long as each batch took, so that other clients of that Redis
have half of its time. Its progress is recorded in Redis, so any process can go on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...stores.sweep_commands import (
    ReadSweep,
    RecordSweep,
    RequestSweep,
    Sweep,
    SweepProgress,
    Swept,
)
from ..plan import Pause, Plan
from .engine import Engine

#: Seconds between two reads of the progress of another process' sweep.
LOOK_EVERY = 0.2

#: Seconds without progress after which a sweep has lost its process, or waits for a busy worker.
STALLED_AFTER = 5.0


def request() -> Plan[bool]:
    """Request a sweep; return whether none is under way, so that the caller starts it.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    starts: bool = yield RequestSweep()
    return starts


def withdraw() -> Plan[None]:
    """Withdraw a sweep that couldn't be started: the next request starts one.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    noted: SweepProgress = yield RecordSweep(SweepProgress())
    if not noted.is_over:  # it names the newest request, which this answers
        yield RecordSweep(noted)


def progress() -> Plan[SweepProgress | None]:
    """Read the progress of the sweep under way, or of the last one; None if that was long ago.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    found: SweepProgress | None = yield ReadSweep()
    if found is None or found.is_over or found.cursor:
        return found
    return SweepProgress(
        found.request
    )  # the next round hasn't begun: the figures are the last round's


def follow(
    engine: Engine, found: SweepProgress, report: Callable[[SweepProgress], None]
) -> Plan[SweepProgress]:
    """Follow another process' sweep until it is over or stands still.

    Args:
        engine: The engine.
        found: Its progress so far.
        report: Receives its progress whenever that has changed.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    moved = engine.parts.clock()
    while not found.is_over and engine.parts.clock() - moved < STALLED_AFTER:
        yield Pause(LOOK_EVERY)
        now = yield from progress()
        if now is None:  # Redis has lost its keys, and the entries with them
            now = replace(found, is_over=True)
        if now != found:
            report(now)
            found, moved = now, engine.parts.clock()
    return found


def resume(found: SweepProgress) -> Plan[SweepProgress]:
    """Return where to go on with an abandoned sweep: in its round, or at the start of another.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    if found.cursor:
        return found
    # Ending an empty round returns the newest request, which the new round answers.
    begun: SweepProgress = yield RecordSweep(SweepProgress())
    return replace(begun, is_over=False)


def batch(engine: Engine, sweeping: SweepProgress) -> Plan[SweepProgress]:
    """Sweep one more batch, record it, and rest. Drops are counted over all rounds.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    started = engine.parts.clock()
    if sweeping == SweepProgress():
        sweeping = yield from resume(sweeping)
    swept: Swept = yield Sweep(sweeping.cursor)
    done = replace(
        sweeping,
        cursor=swept.cursor,
        visited=sweeping.visited + swept.visited,
        # Drops make it less: the largest number of the round counts.
        total=max(sweeping.total, swept.total),
        dropped=sweeping.dropped + swept.dropped,
        freed=sweeping.freed + swept.freed,
    )
    noted: SweepProgress = yield RecordSweep(done)
    if not noted.is_over:
        yield Pause(engine.parts.clock() - started)
    return replace(noted, dropped=done.dropped, freed=done.freed)
