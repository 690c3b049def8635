"""A store that fails or is slow on command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import sleep

from ..errors import StoreUnavailable
from ..stores.protocol import Command, Reply, Store


@dataclass(slots=True)
class _InjectedFault:
    kinds: tuple[type, ...]
    left: float
    error: Exception
    executed: bool


class FaultyStore:
    """A store that passes commands on to another, and fails or waits as told; never by chance.

    Args:
        store: The store that executes the commands.
        wait: Waits so many seconds; ``FakeClock.advance`` makes it take no time.

    Attributes:
        commands: All commands that it has got, failed ones too.
    """

    def __init__(self, store: Store, wait: Callable[[float], object] = sleep) -> None:
        self.store = store
        self.name = f"faulty {store.name}"
        self.commands: list[Command] = []
        self._wait = wait
        self._delay = 0.0
        self._faults: list[_InjectedFault] = []

    def fail(
        self,
        *kinds: type,
        times: int | None = None,
        error: Exception | None = None,
        executed: bool = False,
    ) -> None:
        """Fail from now on.

        Args:
            *kinds: Types of the commands that fail; without any, all fail.
            times: Number of failures; None: until ``heal()``.
            error: The error to raise; None for ``StoreUnavailable``.
            executed: Whether a command is executed first, so that only its reply is lost.
        """
        left = float("inf") if times is None else times
        problem = error or StoreUnavailable(f"{self.name}: told to fail")
        self._faults.append(_InjectedFault(kinds or (object,), left, problem, executed))

    def delay(self, seconds: float) -> None:
        """Take so many seconds for each command from now on, failing ones too."""
        self._delay = seconds

    def heal(self) -> None:
        """End all faults and delays."""
        self._faults.clear()
        self._delay = 0.0

    def execute(self, command: Command) -> Reply:
        """Execute a command, or fail as told.

        Raises:
            StoreUnavailable: The store was told to fail.
        """
        self.commands.append(command)
        if self._delay:
            self._wait(self._delay)
        fault = self._next(command)
        if fault is None:
            return self.store.execute(command)
        if fault.executed:
            self.store.execute(command)
        raise fault.error

    def _next(self, command: Command) -> _InjectedFault | None:
        for fault in self._faults:
            if fault.left > 0 and isinstance(command, fault.kinds):
                fault.left -= 1
                return fault
        return None
