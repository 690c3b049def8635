"""Sweeps: giving back the memory of what invalidations have ended (promise I3).

An invalidation takes effect at once and leaves its entries where they are. A sweep reads through
all of them in batches, and rests for as long as each batch took: other clients of that Redis have
at least every second moment for themselves. How far it has come is noted there, so anybody can go
on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..stores.sweep_commands import (
    ReadSweep,
    RecordSweep,
    RequestSweep,
    Sweep,
    SweepProgress,
    Swept,
)
from .engine import Engine
from .plan import Pause, Plan

#: Seconds between two looks at a sweep that others are at.
LOOK_EVERY = 0.2

#: A sweep that stands still for this long has lost whoever was at it, or waits for a worker that
#: is busy (s).
STALLED_AFTER = 5.0


def request() -> Plan[bool]:
    """Ask for a sweep; True when none is under way and the caller is to start one.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    starts: bool = yield RequestSweep()
    return starts


def withdraw() -> Plan[None]:
    """Take back the start of a sweep that nobody will do: the next who asks is to start one.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    noted: SweepProgress = yield RecordSweep(SweepProgress())
    if not noted.is_over:  # now it names the newest request, which this answers
        yield RecordSweep(noted)


def progress() -> Plan[SweepProgress | None]:
    """How far the sweep under way has come, or how the last one ended; None if long ago.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    found: SweepProgress | None = yield ReadSweep()
    if found is None or found.is_over or found.cursor:
        return found
    return SweepProgress(
        found.request
    )  # the next round hasn't begun: the figures are the last one's


def follow(
    engine: Engine, found: SweepProgress, report: Callable[[SweepProgress], None]
) -> Plan[SweepProgress]:
    """Look on at a sweep that others are at, until it is over or stands still.

    Args:
        engine: The engine.
        found: How far it had come.
        report: Told how far it has come, whenever that has changed.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    moved = engine.parts.clock()
    while not found.is_over and engine.parts.clock() - moved < STALLED_AFTER:
        yield Pause(LOOK_EVERY)
        now = yield from progress()
        if now is None:  # Redis has lost its keys, those of the entries with it
            now = replace(found, is_over=True)
        if now != found:
            report(now)
            found, moved = now, engine.parts.clock()
    return found


def resume(found: SweepProgress) -> Plan[SweepProgress]:
    """Where to go on with a sweep that nobody is at: in its round, or at the start of another.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    if found.cursor:
        return found
    # To end a round in which nothing was done tells the newest request, for a round to answer.
    begun: SweepProgress = yield RecordSweep(SweepProgress())
    return replace(begun, is_over=False)


def batch(engine: Engine, sweeping: SweepProgress) -> Plan[SweepProgress]:
    """Do one more batch, note it, and rest. What was dropped is counted over all rounds.

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
        # Every drop makes it less: what counts is how many there were.
        total=max(sweeping.total, swept.total),
        dropped=sweeping.dropped + swept.dropped,
        freed=sweeping.freed + swept.freed,
    )
    noted: SweepProgress = yield RecordSweep(done)
    if not noted.is_over:
        yield Pause(engine.parts.clock() - started)
    return replace(noted, dropped=done.dropped, freed=done.freed)
