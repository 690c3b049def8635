"""The lease keeper: the leases that this process holds, and the thread that renews them (C3).

The thread isn't the running one, which may be stopped, stuck in C code, or ended by a time limit.
Running threads call a step or two of C code here, which no exception cuts in half. The thread
starts with the first lease, and again in forked children that hold one.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from weakref import ReferenceType, WeakSet, ref

from ..core.events import Fault, Observe
from ..core.lease import Holding, Stage
from ..errors import StoreUnavailable
from .writer import MAX_RUN

#: A lease is renewed this many times before it would lapse.
RENEWALS = 3

#: A lease that couldn't be ended is tried again after this share of its ttl.
RETRY = 0.05

#: Returns the stage of a run; None when it won't end by itself, and others shall lead.
Progress = Callable[[], Stage | None]

#: Renews leases; returns for each whether it is still its owner's.
Renewing = Callable[[tuple[Holding, ...]], list[bool]]

#: Ends the lease of a key, given its owner and the seconds for which equal calls then don't wait
#: for one another; raises ``StoreUnavailable``.
Releasing = Callable[[str, str, float], None]


@dataclass(slots=True)
class _KeptLease:
    """A lease to renew, or (without progress) to end."""

    key: str
    owner: str
    progress: Progress | None
    due: float
    until: float
    unshared: float = 0.0


class LeaseKeeper:
    """Renews leases until they are let go, and ends leases.

    Args:
        renew: Renews leases.
        release: Ends a lease.
        ttl: Seconds that a lease lasts.
        observe: Receives faults.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        renew: Renewing,
        release: Releasing,
        ttl: float,
        observe: Observe,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.ttl = ttl
        self._renew = renew
        self._release = release
        self._observe = observe
        self._clock = clock
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        self._held: dict[str, _KeptLease] = {}
        #: Wakes the thread: a lease may be due earlier than it waits for.
        self._alarm: SimpleQueue[None] = SimpleQueue()
        self._started = False

    def hold(self, key: str, owner: str, progress: Progress, *, renew_in: float) -> None:
        """Renew a lease from now on, for the first time after ``renew_in`` seconds."""
        now = self._clock()
        self._put(_KeptLease(key, owner, progress, now + renew_in, now + MAX_RUN))

    def let_go(self, owner: str) -> None:
        """Stop renewing a lease that has ended or may lapse."""
        self._held.pop(owner, None)

    def end(self, key: str, owner: str, unshared: float = 0.0) -> None:
        """End a lease, if it is the owner's: soon, and once the store can be reached.

        Also for a lease whose reply was lost, so that it may have been given.

        Args:
            key: The call's key.
            owner: The owner.
            unshared: Seconds for which equal calls then don't wait for one another (promise C6); 0
                lets the next one lead.
        """
        now = self._clock()
        self._put(_KeptLease(key, owner, None, now, now + self.ttl, unshared))

    def renew_now(self, owner: str) -> None:
        """Renew a lease at once: its run has begun."""
        held = self._held.get(owner)
        if held is not None:
            held.due = self._clock()
            self._alarm.put(None)

    def holds(self, key: str) -> bool:
        """Whether this process holds the lease of a key."""
        return any(held.key == key for held in list(self._held.values()))

    def _put(self, held: _KeptLease) -> None:
        self._held[held.owner] = held
        self._alarm.put(None)
        if not self._started:
            with suppress(RuntimeError):  # this process may have no more threads: leases lapse
                # An interruption in between, or two threads at once, start two threads, which
                # share the work.
                alarm = self._alarm
                me = ref(self, lambda _: alarm.put(None))
                _thread.start_new_thread(_work, (me, alarm))
                self._started = True

    def pause(self) -> float | None:
        """Return the seconds until a lease is due; None when none is held."""
        due = min((held.due for held in list(self._held.values())), default=None)
        return None if due is None else max(0.0, due - self._clock())

    def work_safely(self) -> None:
        """Renew and end what is due, and send an error as a fault."""
        try:
            self.work_due()
        except Exception as error:  # noqa: BLE001 - leases lapse; runs go on
            self._observe(Fault("", "renew", error))

    def work_due(self) -> None:
        """Renew leases that are due, and end those whose runs are over."""
        now = self._clock()
        due = [held for held in list(self._held.values()) if held.due <= now]
        renewals: list[tuple[_KeptLease, Holding]] = []
        for held in due:
            if held.progress is None:
                continue
            held.due = now + self.ttl / RENEWALS
            stage = self._stage(held.progress) if now < held.until else None
            if stage is None:  # the run is gone, or stands still: others shall lead
                held.progress, held.until = None, now + self.ttl
            else:
                renewals.append((held, Holding(held.key, held.owner, stage)))
        if renewals:
            self._renew_all(renewals)
        for held in due:
            if held.progress is None:
                self._end(held, now)

    def _stage(self, progress: Progress) -> Stage | None:
        try:
            return progress()
        except Exception as error:  # noqa: BLE001 - one run's error mustn't end others' leases
            self._observe(Fault("", "renew", error))
            return None

    def _end(self, held: _KeptLease, now: float) -> None:
        if now < held.until:
            held.due = now + self.ttl * RETRY
            try:
                self._release(held.key, held.owner, held.unshared)
            except StoreUnavailable:
                return
        self._drop(held)

    def _renew_all(self, renewals: list[tuple[_KeptLease, Holding]]) -> None:
        try:
            kept = self._renew(tuple(holding for _, holding in renewals))
        except StoreUnavailable:
            return  # they lapse, unless the next renewal arrives
        for (held, _), is_kept in zip(renewals, kept, strict=True):
            if not is_kept:
                self._drop(held)

    def _drop(self, held: _KeptLease) -> None:
        """Drop a lease, unless another thread has replaced it by one to end."""
        newer = self._held.pop(held.owner, None)
        if newer is not None and newer is not held:
            self._held.setdefault(held.owner, newer)


def _work(of: ReferenceType[LeaseKeeper], alarm: SimpleQueue[None]) -> None:
    """Work for as long as the keeper lives: an app that is gone leaves no thread behind."""
    while (leases := of()) is not None:
        pause = leases.pause()
        del leases
        with suppress(Empty):
            alarm.get(timeout=pause)
        if (leases := of()) is not None:
            leases.work_safely()


_all: WeakSet[LeaseKeeper] = WeakSet()


def _forget_in_child() -> None:
    # The parent renews its leases.
    for leases in list(_all):
        leases._forget()


os.register_at_fork(after_in_child=_forget_in_child)
