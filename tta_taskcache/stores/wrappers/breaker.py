"""A circuit breaker around a store (promise F1): a dead Redis costs one timeout, not one a call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from ...core.events import CircuitChanged, Observe, Refused
from ...errors import CircuitOpen, NotReplicated, StoreRefused, StoreUnavailable
from ..protocol import AsyncStore, Command, Reply, Store
from .reply_times import ReplyTimes

#: Seconds that the circuit stays open, at first and at most; each failed probe doubles them.
FIRST_PAUSE = 0.5
MAX_PAUSE = 5.0


class Breaker:
    """A circuit breaker without locks.

    One failure opens the circuit. After a jittered pause one caller probes, while the others are
    still turned away.

    Args:
        observe: Receives each change of state, once.
        clock: Returns monotonic seconds.
        draw: Returns a random number from [0, 1), for the jitter.
    """

    def __init__(
        self,
        observe: Observe,
        clock: Callable[[], float] = monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.observe = observe
        self._clock = clock
        self._draw = draw
        self._pause = 0.0
        self._until: float | None = None
        self._probes: dict[float, object] = {}

    @property
    def is_open(self) -> bool:
        """Whether calls are turned away."""
        return self._until is not None

    @property
    def is_waiting(self) -> bool:
        """Whether the next caller is turned away as well: no pause is over."""
        until = self._until
        return until is not None and self._clock() < until

    def allows(self) -> bool:
        """Whether the caller may try now; True for one caller only when a pause is over."""
        until = self._until
        if until is None:
            return True
        if self._clock() < until:
            return False
        # setdefault is atomic: of all callers after this pause, one wins. The pause is renewed, so
        # that a probe that never reports back doesn't keep the circuit open for ever.
        me = object()
        if self._probes.setdefault(until, me) is not me:
            return False
        self._until = self._next_pause()
        return True

    def failed(self, cause: str) -> None:
        """Open the circuit, or keep it open for longer."""
        was_open = self._until is not None
        if was_open and not self._probes:
            return  # the call was in flight when another failure opened the circuit
        self._pause = min(self._pause * 2, MAX_PAUSE) if was_open else FIRST_PAUSE
        self._until = self._next_pause()
        if not was_open:
            self.observe(CircuitChanged(open=True, cause=cause))

    def succeeded(self) -> None:
        """Close the circuit."""
        if self._until is not None:
            self._until = None
            self._probes.clear()
            self.observe(CircuitChanged(open=False))

    @contextmanager
    def trying(self, command: Command, name: str) -> Iterator[None]:
        """Try a command of a store in the block, and learn from what comes of it.

        Raises:
            CircuitOpen: The store isn't to be tried.
            StoreUnavailable: It failed.
        """
        if not self.allows():
            raise CircuitOpen(f"{name}: the circuit is open after a failure")
        try:
            yield
        except StoreRefused as error:
            self.succeeded()
            self.observe(Refused(type(command).__name__.lower(), str(error)))
            raise
        except NotReplicated:
            self.succeeded()  # the primary answers
            raise
        except StoreUnavailable as error:
            self.failed(str(error))
            raise
        self.succeeded()

    def _next_pause(self) -> float:
        return self._clock() + self._pause * (0.5 + self._draw())


class GuardedStore:
    """A store behind a breaker.

    Args:
        store: The store.
        breaker: The breaker.
        clock: Monotonic seconds.

    Attributes:
        reply_times: How long the store takes to answer.
        name: The store's.
    """

    def __init__(
        self, store: Store, breaker: Breaker, clock: Callable[[], float] = monotonic
    ) -> None:
        self.store = store
        self.breaker = breaker
        self.reply_times = ReplyTimes()
        self._clock = clock
        self.name = store.name

    def execute(self, command: Command) -> Reply:
        """Execute a command, unless the circuit is open.

        Raises:
            CircuitOpen: The store wasn't tried.
            StoreUnavailable: It failed.
        """
        started = self._clock()
        with self.breaker.trying(command, self.name):
            reply = self.store.execute(command)
        self.reply_times.note(command, self._clock() - started)
        return reply


class AsyncGuardedStore:
    """A store of asyncio behind a breaker."""

    def __init__(self, store: AsyncStore, breaker: Breaker) -> None:
        self.store = store
        self.breaker = breaker
        self.name = store.name

    async def execute(self, command: Command) -> Reply:
        """As ``GuardedStore`` does."""
        with self.breaker.trying(command, self.name):
            return await self.store.execute(command)
