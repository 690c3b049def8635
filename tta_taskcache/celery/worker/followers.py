"""Followers: messages that wait in the main process for an equal call in flight (C1 to C5).

They are kept unacknowledged, as Celery keeps messages with an ETA, and take no pool slot. A key is
polled once however many follow. When the leader has filled, all are completed, in slices so that
the worker's loop goes on; when it fails or is gone, the first of them leads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from threading import RLock, get_ident
from time import monotonic
from typing import Any, Protocol

from celery.worker.request import Request

from ...cache.outcome import Call, Hit
from ...core.record import record
from ..calls.lookup_result import LookupResult
from ..patches.worker.prefetch_allowance import PrefetchAllowance

#: Seconds between two looks for what the leader has filled: at first, and at most.
FIRST_PAUSE = 0.05
MAX_PAUSE = 0.25

#: Seconds that one slice of work may take, and after which the next one follows: the worker's loop
#: has its turn in between. It runs what is due at once ten times over before that.
SLICE = 0.005
BREATH = 0.001


@record
class Follower:
    """A request that waits.

    Attributes:
        request: The request.
        call: What it asks for.
        since: When it began to wait (monotonic seconds).
        counted: Whether it is held beyond the prefetch count.
        until: When it has waited for long enough, whatever the leader does (monotonic seconds).
    """

    request: Request
    call: Call
    since: float
    counted: bool
    until: float


class FollowerHandler(Protocol):
    """What the consumer does with followers whose time has come."""

    def poll(self, follower: Follower, found: Callable[[LookupResult], None]) -> None:
        """Look again for what a follower waits for, or for the right to compute it."""
        ...

    def end_lease(self, lookup: LookupResult) -> None:
        """Let others lead: nobody here waits for the call any more."""
        ...

    def answer(self, follower: Follower, hit: Hit) -> None:
        """Complete a follower with the leader's result."""
        ...

    def send(self, follower: Follower, lookup: LookupResult) -> None:
        """Send a follower to the pool: it leads now, or runs for itself."""
        ...

    def give_up(self, follower: Follower) -> None:
        """Wait no longer with a follower, whose leader goes on."""
        ...

    def waiting(self, count: int) -> None:
        """Take note of how many wait now."""
        ...


@dataclass(slots=True)
class _Group:
    """Those that wait for one key, and when the first of them has waited for long enough.

    When ``outcome`` is set, they are on their way; while it is asked for, they wait for that.
    """

    due: float
    first_until: float = inf
    pause: float = FIRST_PAUSE
    waiting: deque[Follower] = field(default_factory=deque)
    outcome: LookupResult | None = None
    is_asked_for: bool = False
    asks_again: bool = False

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
        site: Completes them.
        consumer: Celery's consumer: its timer and its prefetch count.
        most: How many may be held beyond the prefetch count.
    """

    def __init__(self, site: FollowerHandler, consumer: Any, most: int) -> None:
        self._site = site
        self._consumer = consumer
        self._allowance = PrefetchAllowance(consumer, most)
        self._groups: dict[str, _Group] = {}
        self._waiting = 0
        self._arming = 0
        # Without an event loop, Celery's timer is a thread.
        self._lock = RLock()
        self._loop = get_ident()

    def __len__(self) -> int:
        return self._waiting

    @property
    def unreserved(self) -> int:
        """How many of them Celery doesn't count as reserved."""
        return self._allowance.unreserved

    def has(self, key: str) -> bool:
        """Whether calls wait for this key, so that the next may join without a look of its own."""
        group = self._groups.get(key)
        return group is not None and group.outcome is None

    def park(self, request: Request, call: Call, patience: float = inf) -> None:
        """Let a request wait, for so many seconds at most."""
        with self._lock:
            counted = self._allowance.hold(request)
            now = monotonic()
            follower = Follower(request, call, now, counted, now + patience)
            group = self._groups.get(call.key)
            if group is None or group.outcome is not None:
                rest = group.waiting if group is not None else deque()
                group = self._groups[call.key] = _Group(now + FIRST_PAUSE)
                for late in rest:  # they look again, with the new ones
                    group.add(late)
            group.add(follower)
            self._waiting += 1
            self._site.waiting(self._waiting)
            if len(self._groups) == 1 and len(group.waiting) == 1:
                self._arm(FIRST_PAUSE)

    def poll_now(self, key: str) -> None:
        """Look at once: the leader was one of this worker's, and has ended."""
        group = self._groups.get(key)
        if group is None:
            return
        group.due = 0.0
        group.asks_again = group.is_asked_for  # the answer may be of before
        self._tick_soon()

    def drop(self) -> None:
        """Forget all: the broker delivers them again."""
        with self._lock:
            self._groups.clear()
            self._allowance.forget()
            self._waiting = 0
            self._site.waiting(0)

    def _tick_soon(self) -> None:
        if get_ident() == self._loop:  # else the timer may not be safe to use; it ticks soon
            with self._lock:
                self._arm(0.0)

    def _arm(self, delay: float) -> None:
        """Let the timer tick after this delay, and not as it was armed before."""
        self._arming += 1
        self._consumer.timer.call_after(delay, self._tick, (self._arming,))

    def _tick(self, arming: int) -> None:
        """Do one slice of what is due."""
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
            group = self._groups.pop(key, None)
            if group is None:
                continue
            self._groups[key] = group  # behind the others: each has its turn
            try:
                self._advance(group, end)
            finally:
                self._discard_if_empty(key, group)
            if monotonic() >= end:
                break

    def _advance(self, group: _Group, end: float) -> None:
        now = monotonic()
        if group.outcome is None and group.due <= now and not group.is_asked_for:
            self._look(group)
        if group.outcome is None:
            for _ in range(group.bring_forward_overdue(now)):
                self._site.give_up(self._take(group))
        while group.outcome is not None and group.waiting and monotonic() < end:
            follower = self._take(group)
            if group.outcome.hit is not None:
                self._site.answer(follower, group.outcome.hit)
            else:
                self._site.send(follower, group.outcome)

    def _look(self, group: _Group) -> None:
        while group.waiting and group.waiting[0].request.revoked():
            self._take(group)  # it was acknowledged and announced
        if group.waiting:
            group.is_asked_for = True
            self._site.poll(group.waiting[0], partial(self._polled, group))

    def _polled(self, group: _Group, lookup: LookupResult) -> None:
        """Take what was found for a group; its first may not be the one for which it was asked."""
        with self._lock:
            group.is_asked_for = False
            if not lookup.follows and not lookup.owner:
                group.outcome = lookup  # the answer; or there is none to wait for, and each runs
                self._tick_soon()
                return
            if lookup.owner:
                group.pause = FIRST_PAUSE
                self._lead(group, lookup)
            if group.asks_again:
                group.asks_again = False
                self._tick_soon()
                return
            group.due = monotonic() + group.pause
            group.pause = min(group.pause * 2, MAX_PAUSE)

    def _lead(self, group: _Group, lookup: LookupResult) -> None:
        """Send the first of a group on with the lease that was taken for it."""
        if not group.waiting:
            self._site.end_lease(lookup)
            return
        follower = self._take(group)
        self._site.send(follower, lookup)
        self._discard_if_empty(follower.call.key, group)

    def _discard_if_empty(self, key: str, group: _Group) -> None:
        if not group.waiting and self._groups.get(key) is group:
            del self._groups[key]

    def _take(self, group: _Group) -> Follower:
        follower = group.waiting.popleft()
        self._waiting -= 1
        if follower.counted:
            self._allowance.release(follower.request)
        return follower
