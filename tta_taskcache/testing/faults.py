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
    """Passes commands on to a store, until it is told otherwise. Nothing is left to chance.

    Args:
        store: What executes the commands.
        wait: How it waits; ``FakeClock.advance`` makes it take no time.

    Attributes:
        commands: All commands it was given, failed ones too.
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
            *kinds: Types of the commands that fail; all, when none is named.
            times: How often; until ``heal()``, when not given.
            error: What is raised: ``StoreUnavailable``, unless it is another.
            executed: Execute the command first: only the reply is lost.
        """
        left = float("inf") if times is None else times
        problem = error or StoreUnavailable(f"{self.name}: told to fail")
        self._faults.append(_InjectedFault(kinds or (object,), left, problem, executed))

    def delay(self, seconds: float) -> None:
        """Take this long for each command from now on, failing ones too."""
        self._delay = seconds

    def heal(self) -> None:
        """Be well again."""
        self._faults.clear()
        self._delay = 0.0

    def execute(self, command: Command) -> Reply:
        """Execute one command, or do what was ordered instead.

        Raises:
            StoreUnavailable: It was told to.
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
