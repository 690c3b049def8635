"""Events, as frozen records: the engine sends them, observers in ``observability`` receive them."""

from __future__ import annotations

from collections.abc import Callable

from .record import record


@record
class Lookup:
    """A lookup of a call.

    Attributes:
        task: The task's name.
        key: The call's key; None when it has none.
        site: ``producer``, ``consumer``, ``pool``, or ``direct`` for ``task.cache``.
        layer: ``l1`` or ``l2`` for a hit; None for a miss.
        reason: The reason of a miss or bypass; empty for a hit.
        saved_seconds: Run time of the entry that a hit serves, less ``seconds``; 0 for a hit that
            stands in for a failed run.
        age: Seconds since the entry was stored.
        computed_by: Id of the task that computed it; None for ``task.cache``.
        freshness: Of a hit: ``fresh``, ``early`` (fresh, and a refresh was begun or is under way),
            ``stale``, or ``stale-if-error``.
        saved_cost: Cost of the entry's run, in the user's unit.
        seconds: Seconds that the lookup took; None without one, and for a coalesced call.
        coalesced: Whether the call waited for the run of an equal one.
        size: Bytes of the stored result, for a hit.
        computed_in: Of a hit: W3C traceparent of the span in which it was computed; empty when that
            wasn't traced.
        similarity: Of a hit by a neighbour: cosine similarity of its text; None under its own key.
        neighbour: Of such a hit: the neighbour's key.
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
    computed_in: str = ""
    similarity: float | None = None
    neighbour: str | None = None


@record
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
        computed_in: W3C traceparent of the span in which it was computed; empty when that wasn't
            traced.
        similarity: As of ``Lookup``.
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
    computed_in: str = ""
    similarity: float | None = None


@record
class Missed:
    """A call that a worker's main process has looked up, and found no answer to, is in the pool.

    Tells of one call once, from inside Celery's trace of it; the ``Lookup`` came before, outside of
    that trace.

    Attributes:
        task: The task's name.
        key: The call's key; None when it has none by now.
        site: ``consumer``.
        reason: The reason of the miss.
        seconds: Seconds that the lookup took.
    """

    task: str
    key: str | None
    site: str
    reason: str
    seconds: float


@record
class Embedded:
    """The text of a call was embedded, to look for its neighbours.

    Attributes:
        task: The task's name.
        texts: Number of texts.
        seconds: Seconds that it took.
        cost: Cost of each, in the user's unit.
    """

    task: str
    texts: int
    seconds: float
    cost: float = 0.0


@record
class Compared:
    """A call without an entry was compared with its neighbours.

    Attributes:
        task: The task's name.
        key: The call's key.
        site: As of ``Lookup``.
        similarity: Cosine similarity of the neighbour that answers, or else of the nearest.
        outcome: ``hit``; ``shadow``: it would be one; else the reason why the nearest doesn't
            answer, such as ``below-threshold`` or ``negation``.
        neighbour: That neighbour's key.
    """

    task: str
    key: str
    site: str
    similarity: float
    outcome: str
    neighbour: str


@record
class Coalesced:
    """A call has waited for an equal one in flight, and got its result.

    Attributes:
        task: The task's name.
        key: The call's key.
        site: ``consumer``, ``pool`` (an eager call) or ``direct`` (``task.cache.call``).
        waited: Seconds that it waited.
    """

    task: str
    key: str
    site: str
    waited: float


@record
class Ran:
    """The run of a call that wasn't answered has returned.

    Attributes:
        task: The task's name.
        key: The call's key; None when it has none.
        run_seconds: Seconds that it took.
        cost: Its cost, in the user's unit.
        returned_none: Whether it has returned None.
        reason: Why it ran: the reason of the call's last miss or bypass.
    """

    task: str
    key: str | None
    run_seconds: float
    cost: float = 0.0
    returned_none: bool = False
    reason: str = ""


@record
class NoResult:
    """The run of a call that wasn't answered has ended without a result.

    Nor did an entry stand in for it.

    Attributes:
        task: The task's name.
        key: The call's key; None when it has none.
        outcome: ``failed``, ``retry`` (it is tried again), ``ignore`` or ``reject``, as Celery
            names the exceptions.
        run_seconds: Seconds that it took.
        reason: As of ``Ran``.
    """

    task: str
    key: str | None
    outcome: str
    run_seconds: float
    reason: str = ""


@record
class Shadowed:
    """In shadow mode, a call that runs anyway was looked up.

    Attributes:
        task: The task's name.
        key: The call's key.
        found: Whether it would have been answered.
        saved_seconds: Run time that a hit would have saved, as of ``Lookup``.
        saved_cost: Cost that a hit would have saved, likewise.
    """

    task: str
    key: str
    found: bool
    saved_seconds: float = 0.0
    saved_cost: float = 0.0


@record
class Verified:
    """A call with an answer has run anyway, and both results were compared.

    Attributes:
        task: The task's name.
        key: The call's key.
        outcome: ``same``; ``different``; ``outdated``: they differ, but the entry isn't valid any
            more; ``failed``: the run has failed; ``incomparable``: its result can't be stored.
        computed_by: Id of the task that computed the entry.
        differences: The differences, a line each.
        similarity: Of a neighbour's result: cosine similarity of its text; None for the call's own.
    """

    task: str
    key: str
    outcome: str
    computed_by: str | None = None
    differences: tuple[str, ...] = ()
    similarity: float | None = None


@record
class Evicted:
    """Entries were evicted from this process's memory to make room for others."""

    count: int


@record
class InvalidationsRead:
    """Invalidations in the log were read by this process.

    Attributes:
        count: Number of invalidations.
        lag: Most seconds for which it may have answered from memory after the first of them.
    """

    count: int
    lag: float


@record
class Waiting:
    """The number of messages that a worker now holds for equal calls in flight."""

    count: int


@record
class Filled:
    """The result of a run was stored; with a reason, it wasn't.

    Attributes:
        task: The task's name.
        key: The call's key.
        size: Bytes of the entry, if there is one.
        reason: Why it wasn't stored, if so.
        seconds: Seconds that storing took; None when it wasn't tried.
    """

    task: str
    key: str
    size: int
    reason: str = ""
    seconds: float | None = None


@record
class Invalidated:
    """An invalidation was acknowledged."""

    marks: tuple[str, ...]
    sequence: int


@record
class CircuitChanged:
    """The circuit to the store opened or closed.

    Attributes:
        open: The new state.
        cause: The error that opened it; empty when it closed.
    """

    open: bool
    cause: str = ""


@record
class Refused:
    """The store refused a command with an error; the call went on without the cache.

    Attributes:
        command: The command's name.
        cause: The store's error.
    """

    command: str
    cause: str


@record
class Fault:
    """A fault of the cache itself, which the task isn't affected by."""

    task: str
    operation: str
    error: BaseException


Event = (
    Lookup
    | Answered
    | Missed
    | Coalesced
    | Compared
    | Embedded
    | Ran
    | NoResult
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
