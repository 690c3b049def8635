"""Gates that forks wait at (promise F3).

A child inherits each lock as it was: one that another thread held at that moment stays locked for
ever. That goes for locks of users' code, of imports and of kombu's pools as well, so a thread that
runs such code holds a gate, and opens it where a fork does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from time import monotonic, sleep
from weakref import WeakSet

#: Seconds that a fork waits for the threads at most: then it goes on, whatever they hold.
FORK_PATIENCE = 1.0

#: Seconds between two looks of a thread whether a fork is over.
LOOK_AGAIN = 0.0002


class ForkGate:
    """Held by a thread for as long as no child may be forked."""

    def __init__(self) -> None:
        # Re-entrant for what a user's code forks in that thread itself.
        self._lock = RLock()
        _gates.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def acquire(self, seconds: float) -> bool:
        """Hold it, if it is free within so many seconds."""
        return self._lock.acquire(timeout=seconds)

    def release(self) -> None:
        """Let others hold it."""
        self._lock.release()

    def give_way(self) -> None:
        """Between two pieces of work: let a fork that waits go first."""
        if _wanted:  # a lock alone isn't fair
            with self.opened():
                while _wanted:
                    sleep(LOOK_AGAIN)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Inside, forks may happen: nothing is held that a child needs."""
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()


_gates: WeakSet[ForkGate] = WeakSet()

#: The gates that are held for the fork in progress, and whether there is one.
_held: list[ForkGate] = []
_wanted: list[bool] = []


def _before_fork() -> None:
    _wanted.append(True)
    end = monotonic() + FORK_PATIENCE
    _held.extend(gate for gate in list(_gates) if gate.acquire(max(0.0, end - monotonic())))


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()
    _wanted.clear()


def _after_fork_in_child() -> None:
    _held.clear()
    _wanted.clear()
    _gates.clear()  # their threads are the parent's


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
