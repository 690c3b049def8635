"""The thread that renews the leases of this process (promise C3).

Never the thread that computes: that one may be stopped, stuck in C code, or ended by a time limit.
What computing threads call here is a step or two of C code, which no exception cuts in half; the
thread is started when the first lease is held, and again in forked children that hold one.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from weakref import ReferenceType, WeakSet, ref

from ..core.events import Fault, Observe
from ..stores.protocol import Store
from .held_leases import HeldLeases
from .plan import run


class LeaseKeeper(HeldLeases):
    """Leases that a thread of their own takes care of.

    Args:
        store: Where they are.
        ttl: Seconds that a lease lasts.
        observe: Told of faults.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        ttl: float,
        observe: Observe,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(ttl, observe, clock)
        self._store = store
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        self._held = {}
        #: Wakes the thread up: something may be due earlier than it thought.
        self._alarm: SimpleQueue[None] = SimpleQueue()
        self._started = False

    def _alert(self) -> None:
        self._alarm.put(None)
        if not self._started:
            with suppress(RuntimeError):  # this process may have no more threads: leases lapse
                # Whoever is struck in between, or is here at once with another, leaves two threads
                # behind; they share the work.
                alarm = self._alarm
                me = ref(self, lambda _: alarm.put(None))
                _thread.start_new_thread(_work, (me, alarm))
                self._started = True

    def work_safely(self) -> None:
        """Do what is due, whatever comes of it."""
        try:
            run(self.do_what_is_due(), self._store)
        except Exception as error:  # noqa: BLE001 - leases lapse; whoever computes goes on
            self._observe(Fault("", "renew", error))


def _work(of: ReferenceType[LeaseKeeper], alarm: SimpleQueue[None]) -> None:
    """Work for as long as anybody has the leases: an app that is gone leaves no thread behind."""
    while (leases := of()) is not None:
        pause = leases.pause()
        del leases
        with suppress(Empty):
            alarm.get(timeout=pause)
        if (leases := of()) is not None:
            leases.work_safely()


_all: WeakSet[LeaseKeeper] = WeakSet()


def _forget_in_child() -> None:
    # What the parent holds, the parent renews.
    for leases in list(_all):
        leases._forget()


os.register_at_fork(after_in_child=_forget_in_child)
