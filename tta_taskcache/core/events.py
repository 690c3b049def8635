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
        saved_seconds: Run time of the computation that a hit stands for, less ``seconds``; 0 for a
            hit that stands in for a run that has failed.
        age: Seconds since that was stored.
        computed_by: Id of the task that computed it, if it was a task.
        freshness: Of a hit: ``fresh``, ``early`` (fresh, and a refresh was begun or is under way),
            ``stale``, or ``stale-if-error``.
        saved_cost: Cost of that computation, in the user's unit.
        seconds: How long the look took; None when nothing was looked for, or it was waited for.
        coalesced: Whether the hit was waited for: it was another call's run.
        size: Bytes of what is stored, for a hit.
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
    saved_cost: float = 0.0
    seconds: float | None = None
    coalesced: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """A call is being completed with a stored result, in place of a run.

    Tells of one call once, from inside Celery's trace of it; a ``Lookup`` that found the result
    came before, perhaps outside of that trace.

    Attributes:
        task: The task's name.
        task_id: Id of the call.
        key: The call's key.
        site: ``producer``, ``consumer`` or ``pool``.
        layer: ``l1`` or ``l2``.
        age: Seconds since the result was stored.
        computed_by: Id of the task that computed it, if it was a task.
        freshness: As of ``Lookup``.
        size: Bytes of what is stored.
    """

    task: str
    task_id: str | None
    key: str
    site: str
    layer: str
    age: float
    computed_by: str | None
    freshness: str
    size: int


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
    cost: float = 0.0
    returned_none: bool = False


@dataclass(frozen=True, slots=True)
class Shadowed:
    """In shadow mode: a call that runs anyway was looked up.

    Attributes:
        task: The task's name.
        key: The call's key.
        found: Whether it would have been answered.
        saved_seconds: What that would have saved, as of ``Lookup``.
        saved_cost: Likewise.
    """

    task: str
    key: str
    found: bool
    saved_seconds: float = 0.0
    saved_cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Verified:
    """A call that could be answered has run anyway, and both results were compared.

    Attributes:
        task: The task's name.
        key: The call's key.
        outcome: ``same``; ``different``; ``outdated``: they differ, but what was stored isn't valid
            any more; ``failed``: the run has failed; ``incomparable``: its result can't be stored.
        computed_by: Id of the task that computed what is stored.
        differences: Where they differ, and in what: a line each.
    """

    task: str
    key: str
    outcome: str
    computed_by: str | None = None
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evicted:
    """Entries had to leave this process's memory for others."""

    count: int


@dataclass(frozen=True, slots=True)
class InvalidationsRead:
    """The log told this process of invalidations.

    Attributes:
        count: How many.
        lag: For how many seconds, at most, it may have answered from memory after the first.
    """

    count: int
    lag: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages a worker now holds for equal calls in flight."""

    count: int


@dataclass(frozen=True, slots=True)
class Filled:
    """The result of a run was stored, or (with a reason) was not.

    Attributes:
        task: The task's name.
        key: The call's key.
        size: Bytes of the entry, if there is one.
        reason: Why it wasn't stored, if so.
        seconds: How long storing took; None when it wasn't tried.
    """

    task: str
    key: str
    size: int
    reason: str = ""
    seconds: float | None = None


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


Event = (
    Lookup
    | Answered
    | Coalesced
    | Ran
    | Shadowed
    | Verified
    | Filled
    | Evicted
    | Invalidated
    | InvalidationsRead
    | Waiting
    | CircuitChanged
    | Refused
    | Fault
)
Observe = Callable[[Event], None]
