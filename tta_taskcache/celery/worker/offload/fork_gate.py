"""Gates that forks wait at (promise F3).

A child process inherits the state of each lock: a lock that another thread holds at the fork stays
locked for ever. Locks of users' code, of imports and of kombu's pools are among them, so a thread
that runs such code holds a gate, and opens it where a fork does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from time import monotonic, sleep
from weakref import WeakSet

#: Most seconds that a fork waits for the gates; then it goes on without them.
FORK_PATIENCE = 1.0

#: Seconds between two checks of a thread whether a fork is over.
LOOK_AGAIN = 0.0002


class ForkGate:
    """A gate of one thread, which holds it while no child process may be forked."""

    def __init__(self) -> None:
        # Re-entrant: a user's code may fork in that thread itself.
        self._lock = RLock()
        _gates.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def acquire(self, seconds: float) -> bool:
        """Hold the gate, if it is free within so many seconds; return whether it is."""
        return self._lock.acquire(timeout=seconds)

    def release(self) -> None:
        """Release the gate."""
        self._lock.release()

    def give_way(self) -> None:
        """Let a waiting fork go first; called between two pieces of work."""
        if _wanted:  # a lock alone isn't fair
            with self.opened():
                while _wanted:
                    sleep(LOOK_AGAIN)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Allow forks inside: the thread holds nothing that a child process needs."""
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
    _gates.clear()  # they belong to threads of the parent


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
