"""Sweeps: giving back the memory of what invalidations have ended (promise I3).

An invalidation takes effect at once and leaves its entries where they are. A sweep reads through
all of them in batches, and rests for as long as each batch took: other clients of that Redis have
at least every second moment for themselves. How far it has come is noted there, so anybody can go
on with it.
"""

from __future__ import annotations

from dataclasses import replace

from ..stores.sweeps import AskForSweep, NoteSweep, ReadSweep, Sweep, Sweeping, Swept
from .engine import Engine
from .plan import Pause, Plan


def ask() -> Plan[bool]:
    """Ask for a sweep; True when none is under way and the caller is to start one.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    starts: bool = yield AskForSweep()
    return starts


def progress() -> Plan[Sweeping | None]:
    """How far the sweep under way has come, or how the last one ended; None if long ago.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    sweeping: Sweeping | None = yield ReadSweep()
    return sweeping


def batch(engine: Engine, sweeping: Sweeping) -> Plan[Sweeping]:
    """Do one more batch, note it, and rest.

    Raises:
        StoreUnavailable: The store can't be reached.
    """
    started = engine.clock()
    swept: Swept = yield Sweep(sweeping.cursor)
    noted: Sweeping = yield NoteSweep(
        replace(
            sweeping,
            cursor=swept.cursor,
            visited=sweeping.visited + swept.visited,
            total=swept.total,
            dropped=sweeping.dropped + swept.dropped,
            freed=sweeping.freed + swept.freed,
        )
    )
    if not noted.is_over:
        yield Pause(engine.clock() - started)
    return noted
