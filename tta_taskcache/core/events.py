"""What happened, as frozen records: the engine emits them, observability consumes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lookup:
    """One look for a call's result.

    Attributes:
        task: The task's name.
        key: The call's key, or None when it has none.
        site: ``producer``, ``consumer``, ``pool``, or ``direct`` for ``task.cache``.
        layer: ``l1`` or ``l2`` for a hit, None for a miss.
        reason: Why it was a miss or a bypass; empty for a hit.
        saved_seconds: Run time of the computation that a hit stands for.
        age: Seconds since that was stored.
        computed_by: Id of the task that computed it, if it was a task.
        freshness: Of a hit: ``fresh``, ``early`` (fresh, and a refresh was begun or is under way),
            ``stale``, or ``stale-if-error``.
    """

    task: str
    key: str | None
    site: str
    layer: str | None
    reason: str
    saved_seconds: float = 0.0
    age: float = 0.0
    computed_by: str | None = None
    freshness: str = "fresh"


@dataclass(frozen=True, slots=True)
class Coalesced:
    """A call has waited for an equal one that was already in flight, and got its result.

    Attributes:
        task: The task's name.
        key: The call's key.
        site: ``consumer``, ``pool`` (an eager call) or ``direct`` (``task.cache.call``).
        waited: Seconds.
    """

    task: str
    key: str
    site: str
    waited: float


@dataclass(frozen=True, slots=True)
class Ran:
    """A call was not answered, and its task has run and returned."""

    task: str
    key: str | None
    run_seconds: float


@dataclass(frozen=True, slots=True)
class Filled:
    """The result of a run was stored, or (with a reason) was not."""

    task: str
    key: str
    size: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Invalidated:
    """An invalidation was acknowledged."""

    marks: tuple[str, ...]
    sequence: int


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """The circuit to the store opened or closed.

    Attributes:
        open: The new state.
        cause: What opened it; empty when it closed.
    """

    open: bool
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The store answered a command with an error; it was done without the cache.

    Attributes:
        command: The command's name.
        cause: What the store said.
    """

    command: str
    cause: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the cache itself went wrong; the task was not concerned."""

    task: str
    operation: str
    error: BaseException


Event = Lookup | Coalesced | Ran | Filled | Invalidated | CircuitChanged | Refused | Fault
Observe = Callable[[Event], None]
