"""Single-flight: equal calls in flight run once; callers of a process lead or follow.

The leader wakes the followers in its process; leaders elsewhere are polled. It stops a stampede.
"""

from __future__ import annotations

import _thread
import os
from dataclasses import replace
from weakref import WeakSet

from ..core.lease import Claim, Stage
from .engine import Engine
from .lookup_record import record_lookup
from .outcome import Call, Hit, Miss
from .plan import Pause, Plan

#: Seconds between two looks of a follower: at first, and at most.
FIRST_PAUSE = 0.005
MAX_PAUSE = 0.1

#: Seconds between two looks while a leader in this process will wake its followers.
WAKEUP_PAUSE = 1.0

#: Seconds that a caller waits for a leader that isn't running yet: the leader may be in a long
#: queue, even behind this very caller.
PATIENCE = 1.0

#: Most seconds that a caller waits for a running leader, whatever the leader does.
MAX_WAIT = 900.0


class LockWakeup:
    """A wake-up call made of a bare lock: one C call each to make it, to wait and to wake."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> None:
        """Block until woken, or for so many seconds."""
        if self._lock.acquire(timeout=seconds):
            self._lock.release()

    def wake(self) -> None:
        """Wake all waiting threads; later ones don't wait."""
        if self._lock.locked():
            self._lock.release()


class SingleFlight:
    """The runs that callers in this process lead, by key."""

    def __init__(self) -> None:
        self._wakeups: dict[str, LockWakeup] = {}
        _all.add(self)

    def begin(self, key: str) -> LockWakeup:
        """Announce the leader of a key; return the wake-up call of its followers."""
        wakeup = self._wakeups[key] = LockWakeup()
        return wakeup

    def end(self, key: str, wakeup: LockWakeup) -> None:
        """Wake the followers of a key, which look again."""
        if self._wakeups.get(key) is wakeup:
            self._wakeups.pop(key, None)
        wakeup.wake()

    def lead_or_follow(
        self, engine: Engine, call: Call, site: str, claim: Claim, patience: float = MAX_WAIT
    ) -> Plan[Hit | Miss]:
        """Look until there is a result, or until the caller has to run.

        Args:
            engine: The cache.
            call: The call.
            site: Where it is made.
            claim: The caller's, who can compute at once: it takes over what only waits to run.
            patience: Seconds that it waits at most.

        Returns:
            A hit; or a miss, whose lease is the caller's unless equal calls don't wait for one
            another now.
        """
        asked_at = engine.parts.clock()
        pause = FIRST_PAUSE
        waited = False
        while True:
            found = yield from engine.refresher.find_or_refresh(call, claim)
            lease = found.lease if isinstance(found, Miss) else None
            if lease is None or not lease.is_followed:
                break
            took = engine.parts.clock() - asked_at
            if lease.stage is not Stage.RUNNING and took >= PATIENCE:
                if not claim.takes_queued:
                    claim = replace(claim, takes_queued=True)
                    continue
                found = Miss("queued-elsewhere", found.position)  # type: ignore[union-attr]  # a miss
                break
            if took >= patience:
                found = Miss("waited-too-long", found.position)  # type: ignore[union-attr]  # a miss
                break
            wakeup = self._wakeups.get(call.key)
            yield Pause(WAKEUP_PAUSE if wakeup else pause, wakeup)
            pause = min(pause * 2, MAX_PAUSE)
            waited = True
        took = engine.parts.clock() - asked_at
        if waited and isinstance(found, Hit):
            record_lookup(engine.parts.observe, call, site, found, waited=took)
        else:
            record_lookup(engine.parts.observe, call, site, found, seconds=took)
        return found


_all: WeakSet[SingleFlight] = WeakSet()


def _forget_in_child() -> None:
    for single_flight in list(_all):
        single_flight._wakeups.clear()  # their leaders are threads of the parent


os.register_at_fork(after_in_child=_forget_in_child)
