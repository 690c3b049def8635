"""Single-flight: equal calls in flight run once; callers of a process lead or follow.

The leader wakes the followers in its process; a leader elsewhere is polled by one follower for all
of them. It stops a stampede.
"""

from __future__ import annotations

import _thread
import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from weakref import WeakSet

from ...core.entries.lease import Claim, Stage
from ...core.record import record
from ..engine.engine import Engine
from ..engine.lookup_record import record_lookup
from ..outcome import Call, Hit, Miss
from ..plan import Pause, Plan

#: Seconds between two looks of a follower: at first, and at most.
FIRST_PAUSE = 0.005
MAX_PAUSE = 0.1

#: Seconds between two looks while a leader in this process will wake its followers.
WAKEUP_PAUSE = 1.0
MAX_WAKEUP_PAUSE = 4.0

#: Most seconds of a pause while another follower in this process looks.
UNWATCHED = 30.0

#: Seconds that a caller waits for a leader that isn't running yet: the leader may be in a long
#: queue, even behind this very caller.
PATIENCE = 1.0

#: A lease that is noticed when this share of its ttl is over is claimed again, so many times: on a
#: busy machine it may have lapsed, and another call may lead.
LATE, MOST_LATE = 0.5, 3

#: Most seconds that a caller waits for a running leader, whatever the leader does.
MAX_WAIT = 900.0


@record
class SharedAnswer:
    """An answer that a leader has found without running, for its followers in this process.

    Attributes:
        call: The leader's call.
        hit: The answer.
        read_at: When its entry was read (monotonic seconds): a follower that began later looks
            itself, as an invalidation may have been acknowledged in between.
    """

    call: Call
    hit: Hit
    read_at: float


class LockWakeup:
    """A wake-up call made of a bare lock: one C call each to make it, to wait and to wake.

    Threads and coroutines can wait for it.

    Attributes:
        answer: What the leader gives to those that wait; None when they have to look.
    """

    __slots__ = ("_lock", "_waiting", "answer", "is_over")

    def __init__(self) -> None:
        self.answer: SharedAnswer | None = None
        self._lock = _thread.allocate_lock()
        self._lock.acquire()
        #: Whether it has rung.
        self.is_over = False
        #: Coroutines that wait, with their loops.
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def wait(self, seconds: float) -> None:
        """Block until woken, or for so many seconds."""
        if self._lock.acquire(timeout=seconds):
            self._lock.release()

    def wake(self) -> None:
        """Wake all that wait; later ones don't wait."""
        self.is_over = True
        if self._lock.locked():
            self._lock.release()
        loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for future, loop in list(self._waiting.items()):
            loops.setdefault(loop, []).append(future)
        for loop, futures in loops.items():
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_end_waits, loop, futures)

    async def wait_in_loop(self, seconds: float) -> None:
        """Wait in an event loop until woken, or for so many seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting[future] = loop
        # In an empty context: a copy of the caller's would be one more object for each that waits.
        timer = loop.call_later(seconds, _end_wait, future, context=_NO_CONTEXT)
        try:
            if not self.is_over:  # else it may have done so before we were there
                await future
        finally:
            timer.cancel()
            self._waiting.pop(future, None)


_NO_CONTEXT = Context()

#: So many go on in one turn of their loop.
ENDED_AT_ONCE = 100


def _end_wait(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _end_waits(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    for future in futures[:ENDED_AT_ONCE]:
        _end_wait(future)
    if later := futures[ENDED_AT_ONCE:]:
        loop.call_soon(_end_waits, loop, later)


class SingleFlight:
    """The runs that callers in this process lead, by key."""

    def __init__(self) -> None:
        self._wakeups: dict[str, LockWakeup] = {}
        #: Of the keys with leaders elsewhere, what their watchers here ring.
        self._watched: dict[str, LockWakeup] = {}
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
        self,
        engine: Engine,
        call: Call,
        site: str,
        claim: Claim,
        patience: float = MAX_WAIT,
        *,
        accepts: Callable[[SharedAnswer], bool] | None = None,
    ) -> Plan[Hit | Miss]:
        """Look until there is a result, or until the caller has to run.

        Args:
            engine: The cache.
            call: The call.
            site: Where it is made.
            claim: The caller's, who can compute at once: it takes over what only waits to run.
            patience: Seconds that it waits at most.
            accepts: Whether it takes the answer of a leader here that hasn't run; None for never.

        Returns:
            A hit; or a miss, whose lease is the caller's unless equal calls don't wait for one
            another now.
        """
        asked_at = engine.parts.clock()
        pauses = Pauses(self, call.key)
        try:
            found = yield from self._follow(engine, call, claim, patience, pauses, accepts=accepts)
        finally:
            pauses.end()
        took = engine.parts.clock() - asked_at
        if pauses.count and isinstance(found, Hit):
            record_lookup(engine.parts.observe, call, site, found, waited=took)
        else:
            record_lookup(engine.parts.observe, call, site, found, seconds=took)
        return found

    def _follow(
        self,
        engine: Engine,
        call: Call,
        claim: Claim,
        patience: float,
        pauses: Pauses,
        *,
        accepts: Callable[[SharedAnswer], bool] | None,
    ) -> Plan[Hit | Miss]:
        clock = engine.parts.clock
        asked_at, late = clock(), 0
        while True:
            claimed_at = clock()
            found = yield from engine.refresher.find_or_refresh(call, claim)
            lease = found.lease if isinstance(found, Miss) else None
            if isinstance(found, Hit) or lease is None or not lease.is_followed:
                is_late = clock() - claimed_at >= LATE * claim.ttl
                if lease is None or not lease.is_ours or not is_late or late == MOST_LATE:
                    return found
                late += 1
                continue
            took = clock() - asked_at
            if lease.stage is not Stage.RUNNING and took >= PATIENCE:
                if claim.takes_queued:
                    return Miss("queued-elsewhere", found.position)
                claim = replace(claim, takes_queued=True)
                continue
            if took >= patience:
                return Miss("waited-too-long", found.position)
            del found, lease  # ten thousand followers are work for the collector
            pause = pauses.next(patience - took)
            yield pause
            shared = pause.wakeup.answer if isinstance(pause.wakeup, LockWakeup) else None
            if shared is not None and accepts is not None and shared.read_at >= asked_at:
                is_same = shared.call.marks == call.marks and shared.call.max_age == call.max_age
                if is_same and accepts(shared):
                    return engine.reader.copy_of(shared.hit)


class Pauses:
    """The pauses of one follower of a key.

    Of the followers in this process, one looks for all: the watcher. It wakes the others when it
    has found something; so does a leader in this process.

    Attributes:
        count: How many there were.
    """

    __slots__ = ("_key", "_leader", "_mine", "_pause", "_single_flight", "_wakeup_pause", "count")

    def __init__(self, single_flight: SingleFlight, key: str) -> None:
        self._single_flight, self._key = single_flight, key
        self._pause, self._wakeup_pause = FIRST_PAUSE, WAKEUP_PAUSE
        self._mine: LockWakeup | None = None
        self._leader: LockWakeup | None = None
        self.count = 0

    def next(self, most: float = MAX_WAKEUP_PAUSE) -> Pause:
        """The next one: until a leader or the watcher here rings, or until the next look.

        Args:
            most: Seconds that the follower may wait for.
        """
        self.count += 1
        leader = self._single_flight._wakeups.get(self._key)
        if leader is not None and leader.is_over:  # a watcher rang, and the leader isn't done
            leader = None
        watcher = self._watcher()
        if watcher is not None:
            return Pause(min(max(most, FIRST_PAUSE), UNWATCHED), leader or watcher)
        self._leader = leader
        if leader is not None:
            seconds = self._wakeup_pause
            self._wakeup_pause = min(seconds * 2, MAX_WAKEUP_PAUSE)
        else:
            seconds = self._pause
            self._pause = min(seconds * 2, MAX_PAUSE)
        return Pause(seconds, leader)

    def _watcher(self) -> LockWakeup | None:
        """What the watcher rings; None when this one is it."""
        watched = self._single_flight._watched
        known = watched.get(self._key)
        if known is None:
            self._mine = self._mine or LockWakeup()
            known = watched.setdefault(self._key, self._mine)
        return None if known is self._mine else known

    def end(self) -> None:
        """Let those look that have left it to this one."""
        if self._mine is None:
            return
        if self._single_flight._watched.get(self._key) is self._mine:
            self._single_flight._watched.pop(self._key, None)
        self._mine.wake()
        if self._leader is not None:
            self._leader.wake()


_all: WeakSet[SingleFlight] = WeakSet()


def _forget_in_child() -> None:
    for single_flight in list(_all):
        single_flight._wakeups.clear()  # their leaders are threads of the parent
        single_flight._watched.clear()


os.register_at_fork(after_in_child=_forget_in_child)
