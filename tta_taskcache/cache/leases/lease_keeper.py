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
from queue import Empty, SimpleQueue
from time import monotonic
from weakref import ReferenceType, WeakSet, ref

from ...core.events import Fault, Observe
from ...stores.protocol import Store
from ..plan import run
from .held_leases import HeldLeases

#: Seconds that a producer's reservation lasts, unrenewed: a worker that is free takes the lookup
#: over within milliseconds, and renews the lease as its own soon after.
RESERVED_FOR = 1.0


class LeaseKeeper(HeldLeases):
    """Leases that a thread of their own takes care of.

    Attributes:
        reserved_for: Seconds that a producer's reservation lasts.

    Args:
        store: Where they are.
        ttl: Seconds that a lease lasts.
        observe: Receives faults.
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
        self.reserved_for = RESERVED_FOR
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
                # An interruption in between, or two threads at once, start two threads, which
                # share the work.
                alarm = self._alarm
                me = ref(self, lambda _: alarm.put(None))
                _thread.start_new_thread(_work, (me, alarm))
                self._started = True

    def work_safely(self) -> None:
        """Renew and end what is due, and send an error as a fault."""
        try:
            run(self.do_what_is_due(), self._store)
        except Exception as error:  # noqa: BLE001 - leases lapse, and the computations go on
            self._observe(Fault("", "renew", error))


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
