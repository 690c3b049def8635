"""Followers: messages that wait in the main process for an equal call in flight (C1 to C5).

Followers stay unacknowledged, as Celery's messages with an ETA do, and take no pool slot. A key is
polled once, however many follow. When the leader has filled, all are completed, in slices so that
the worker's loop goes on; when it fails or is gone, the first follower leads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from threading import RLock, get_ident
from time import monotonic
from typing import Any, Protocol

from celery.worker.request import Request

from ...cache.outcome import Call, Hit
from ..calls.lookup_result import LookupResult

#: Seconds between two polls of a key: at first, and at most.
FIRST_PAUSE = 0.05
MAX_PAUSE = 0.25

#: Seconds of one slice of work, and of the pause before the next, in which the worker's loop has
#: its turn. It runs timers that are due ten times over before that.
SLICE = 0.005
BREATH = 0.001


@dataclass(frozen=True, slots=True)
class Follower:
    """A request that waits.

    Attributes:
        request: The request.
        call: Its call.
        since: When it began to wait (monotonic seconds).
        counted: Whether the prefetch count was raised for it.
        until: When it has waited for long enough, whatever the leader does (monotonic seconds).
    """

    request: Request
    call: Call
    since: float
    counted: bool
    until: float


class FollowerHandler(Protocol):
    """The consumer site, as followers use it."""

    def poll(self, follower: Follower) -> LookupResult:
        """Look a follower up again, and claim its lease."""
        ...

    def answer(self, follower: Follower, hit: Hit) -> None:
        """Complete a follower with the leader's result."""
        ...

    def send(self, follower: Follower, lookup: LookupResult) -> None:
        """Send a follower to the pool, to lead or to run for itself."""
        ...

    def give_up(self, follower: Follower) -> None:
        """Wait no longer with a follower, whose leader goes on."""
        ...

    def waiting(self, count: int) -> None:
        """Record the number of followers."""
        ...


@dataclass(slots=True)
class _Group:
    """Those that wait for one key, and when the first of them has waited for long enough.

    When ``outcome`` is set, they are on their way.
    """

    due: float
    first_until: float = inf
    pause: float = FIRST_PAUSE
    waiting: deque[Follower] = field(default_factory=deque)
    outcome: LookupResult | None = None

    def add(self, follower: Follower) -> None:
        """Let one more wait."""
        self.waiting.append(follower)
        self.first_until = min(self.first_until, follower.until)

    def bring_forward_overdue(self, now: float) -> int:
        """Put those in front that have waited for long enough, and say how many they are."""
        if now < self.first_until:
            return 0
        overdue = [follower for follower in self.waiting if follower.until <= now]
        others = [follower for follower in self.waiting if follower.until > now]
        self.waiting = deque((*overdue, *others))
        self.first_until = min((follower.until for follower in others), default=inf)
        return len(overdue)


class Followers:
    """The followers of one worker.

    Args:
        site: The consumer site, which completes or sends them.
        consumer: Celery's consumer, with its timer and its prefetch count.
        most: Most followers beyond the prefetch count.
    """

    def __init__(self, site: FollowerHandler, consumer: Any, most: int) -> None:
        self._site = site
        self._consumer = consumer
        self._most = most
        self._groups: dict[str, _Group] = {}
        self._counted = 0
        self._waiting = 0
        self._arming = 0
        # Without an event loop, Celery's timer is a thread.
        self._lock = RLock()
        self._loop = get_ident()

    def __len__(self) -> int:
        return self._waiting

    def has(self, key: str) -> bool:
        """Whether a key has followers, so that the next may join without a look of its own."""
        group = self._groups.get(key)
        return group is not None and group.outcome is None

    def park(self, request: Request, call: Call, patience: float = inf) -> None:
        """Let a request wait, for so many seconds at most."""
        with self._lock:
            counted = self._counted < self._most
            if counted:
                self._counted += 1
                self._consumer.qos.increment_eventually()
            now = monotonic()
            follower = Follower(request, call, now, counted, now + patience)
            group = self._groups.get(call.key)
            if group is None or group.outcome is not None:
                rest = group.waiting if group is not None else deque()
                group = self._groups[call.key] = _Group(monotonic() + FIRST_PAUSE)
                for late in rest:  # they look again, with the new ones
                    group.add(late)
            group.add(follower)
            self._waiting += 1
            self._site.waiting(self._waiting)
            if len(self._groups) == 1 and len(group.waiting) == 1:
                self._arm(FIRST_PAUSE)

    def poll_now(self, key: str) -> None:
        """Poll a key at once: its leader was in this worker, and has ended."""
        group = self._groups.get(key)
        if group is None:
            return
        group.due = 0.0
        if get_ident() == self._loop:  # else the timer may not be safe to use; it ticks soon
            with self._lock:
                self._arm(0.0)

    def drop(self) -> None:
        """Drop all followers: the broker delivers them again."""
        with self._lock:
            self._groups.clear()
            self._counted = self._waiting = 0
            self._site.waiting(0)

    def _arm(self, delay: float) -> None:
        """Let the timer tick after this delay; earlier arming is void."""
        self._arming += 1
        self._consumer.timer.call_after(delay, self._tick, (self._arming,))

    def _tick(self, arming: int) -> None:
        """Do one slice of the work that is due."""
        with self._lock:
            if arming != self._arming or not self._groups:
                return
            try:
                self._work()
            finally:
                self._site.waiting(self._waiting)
                if self._groups:
                    busy = any(g.outcome is not None for g in self._groups.values())
                    self._arm(BREATH if busy else FIRST_PAUSE)

    def _work(self) -> None:
        end = monotonic() + SLICE
        for key in list(self._groups):
            group = self._groups.pop(key)
            try:
                self._advance(group, end)
            finally:
                if group.waiting:
                    self._groups[key] = group  # behind the others: each has its turn
            if monotonic() >= end:
                break

    def _advance(self, group: _Group, end: float) -> None:
        now = monotonic()
        if group.outcome is None and group.due <= now:
            self._look(group, now)
        if group.outcome is None:
            for _ in range(group.bring_forward_overdue(now)):
                self._site.give_up(self._take(group))
        while group.outcome is not None and group.waiting and monotonic() < end:
            follower = self._take(group)
            if group.outcome.hit is not None:
                self._site.answer(follower, group.outcome.hit)
            else:
                self._site.send(follower, group.outcome)

    def _look(self, group: _Group, now: float) -> None:
        while group.waiting and group.waiting[0].request.revoked():
            self._take(group)  # Celery has acknowledged and announced it
        if not group.waiting:
            return
        lookup = self._site.poll(group.waiting[0])
        if not lookup.follows and not lookup.owner:
            group.outcome = lookup  # a hit; or a miss that isn't shared, and each runs
            return
        if lookup.owner:
            group.pause = FIRST_PAUSE
            self._site.send(self._take(group), lookup)
        group.due = now + group.pause
        group.pause = min(group.pause * 2, MAX_PAUSE)

    def _take(self, group: _Group) -> Follower:
        follower = group.waiting.popleft()
        self._waiting -= 1
        if follower.counted:
            self._counted -= 1
            self._consumer.qos.decrement_eventually()
        return follower
