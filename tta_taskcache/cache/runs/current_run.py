"""The run in progress: what it decides of its entry, and what its result is made from (D1, D4).

It is a context variable, so threads that a run starts with a copy of its context, and tasks of
asyncio, take part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from ...core.arguments.labels import MAX_TAGS
from ...core.entries import marks
from ...core.entries.entry import Entry, Position
from ...core.options.policy import Policy
from ...core.record import record
from ...errors import NotModifiedError
from ..outcome import Call, Hit
from .request_directives import mode_in_force
from .run_decisions import read_decision

#: Most marks of other entries that an entry has; beyond, the marks of their tasks stand for them.
MAX_DEPENDENCY_MARKS = 64


@record
class Previous:
    """The entry that a run is about to replace.

    Attributes:
        value: Its value.
        age: Seconds since it was stored.
        etag: What its run has kept with ``cache_control(etag=…)``; empty for nothing.
        entry: The entry, without its value.
        header: The first bytes of its frame, by which it is known.
        payload_at: Where its payload begins in its frame.
    """

    value: Any
    age: float
    etag: str
    entry: Entry = field(repr=False)
    header: bytes = field(repr=False)
    payload_at: int = field(repr=False)


@dataclass(slots=True)
class CurrentRun:
    """What is known of a run in progress.

    Attributes:
        collects: Whether it notes what its result is made from (``cache_depends``).
        log: Identity of the log that ends its entry: answers of caches with another log are no
            dependencies. None for any.
        position: A position of that log from before it; None where there is none.
        find_previous: Finds the entry that it is about to replace.
        ttl: As of ``cache_control``, and so are the next six; None where it has said nothing.
        marks: The marks of the entries that it was made from.
        positions: Positions of the log at which they were valid, the oldest of each incarnation
            among them.
        staled: Seconds for which some of them were stale, the most among them.
        sent: The calls that it has sent as messages, by key: what their runs take isn't known here
            until they are stored.
    """

    collects: bool = True
    find_previous: Callable[[], Previous | None] = lambda: None
    log: object = None
    position: Position | None = None
    ttl: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    tags: tuple[str, ...] = ()
    cost: float | None = None
    store: bool = True
    etag: str = ""
    # Threads of the run add to these at once: nothing is lost between a check and a write.
    marks: dict[str, None] = field(default_factory=dict)
    positions: set[Position] = field(default_factory=set)
    staled: list[float] = field(default_factory=list)
    sent: dict[str, Call] = field(default_factory=dict)
    _previous: list[Previous | None] = field(default_factory=list)

    def to_renew(self) -> Previous:
        """Return the entry that a run which returned ``NOT_MODIFIED`` renews.

        Its etag, stale windows and marks are kept, but for what the run has said anew: its value
        was made from what it was made from.

        Raises:
            NotModifiedError: There is none.
        """
        renewed = self.previous
        if renewed is None:
            raise NotModifiedError("a run has returned NOT_MODIFIED; cache_previous() is None")
        self.etag = self.etag or renewed.etag
        if self.windows == (None, None) and renewed.entry.windows is not None:
            self.stale_while_revalidate, self.stale_if_error = renewed.entry.windows
        kept = (name for name in renewed.entry.marks if name != marks.EVERYTHING)
        self.marks.update(dict.fromkeys(kept))
        return renewed

    @property
    def previous(self) -> Previous | None:
        """The entry that it is about to replace; it is read when it is first asked for."""
        if not self._previous:
            self._previous.append(self.find_previous())
        return self._previous[0]

    def say(self, name: str, value: Any) -> None:
        """Set what the run has said: an argument of ``cache_control``.

        Raises:
            TypeError: As ``cache_control``.
            ValueError: As ``cache_control``.
        """
        read = read_decision(name, value)
        if name == "tags":
            read = tuple(dict.fromkeys((*self.tags, *read)))
            if len(read) > MAX_TAGS:
                raise ValueError(f"cache_control(tags=…): {len(read):,}; at most {MAX_TAGS:,}")
        setattr(self, name, read)

    @property
    def staleness(self) -> float | None:
        """The most seconds for which an answer that went in was stale; None if none was.

        An answer that a soft invalidation has made stale counts with 0.
        """
        return max(self.staled, default=None)

    def depend(
        self,
        names: Collection[str],
        as_of: Position | None = None,
        staleness: float | None = None,
    ) -> None:
        """Note an answer that went in.

        Args:
            names: The marks that can end it.
            as_of: A position of the log at which it was valid; None for one after the run's begin.
            staleness: Seconds for which it was stale; None if it was fresh.
        """
        if not self.collects:
            return
        added = [name for name in names if name != marks.EVERYTHING]
        if len(self.marks.keys() | set(added)) > MAX_DEPENDENCY_MARKS:
            added = [name for name in added if marks.is_of_task(name)]
        self.marks.update(dict.fromkeys(added))
        if staleness is not None and staleness > max(self.staled, default=-1.0):
            self.staled.append(staleness)
        if as_of is not None and not any(at.precedes(as_of) for at in tuple(self.positions)):
            self.positions.add(as_of)

    def is_of_same_log(self, log: object, at: Position | None = None) -> bool:
        """Whether answers are ended by the log that ends this run's entry.

        Args:
            log: Identity of their log.
            at: A position of it: one place may have several names, and a log has one incarnation.
        """
        if self.log is None or log is None or log == self.log:
            return True
        return (
            at is not None
            and self.position is not None
            and (at.incarnation == self.position.incarnation)
        )

    def depend_on_message(self, call: Call) -> None:
        """Note a call that is sent as a message: its answer comes from a run that begins later."""
        self.depend(call.marks)
        if self.collects and len(self.sent) < MAX_DEPENDENCY_MARKS:
            self.sent[call.key] = call

    def depend_on_run(
        self, call: Call | None, position: Position | None, inner: CurrentRun
    ) -> None:
        """Note a run that was made inside, whatever its end, and what that was made from.

        Args:
            call: Its call; None for one without a key.
            position: A position of the log from before it; None where there is none.
            inner: The run.
        """
        if not self.is_of_same_log(inner.log, position):
            return
        self.depend(call.marks if call is not None else (), position)
        decided = map(marks.of_tag, inner.tags)
        self.depend((*decided, *inner.marks), None, inner.staleness)
        for at in tuple(inner.positions):
            self.depend((), at)
        for sent in tuple(inner.sent.values()):
            self.depend_on_message(sent)

    def applied_to(self, policy: Policy) -> Policy:
        """Return the policy with what the run has said."""
        said = {
            "ttl": self.ttl,
            "stale_while_revalidate": self.stale_while_revalidate,
            "stale_if_error": self.stale_if_error,
        }
        given = {name: value for name, value in said.items() if value is not None}
        return replace(policy, **given) if given else policy  # type: ignore[arg-type]  # seconds

    @property
    def windows(self) -> tuple[float | None, float | None]:
        """The stale windows that it has said."""
        return self.stale_while_revalidate, self.stale_if_error

    @property
    def refusal(self) -> str:
        """The reason why it doesn't want its result to be stored; empty for none."""
        if not self.store:
            return "cache-control"
        return "ttl" if self.ttl is not None and self.ttl <= 0 else ""

    def born(self, position: Position) -> tuple[Position | None, str]:
        """Return the position that its entry is born at, or None and the reason for none."""
        positions = (position, *self.positions)
        if any(at.incarnation != position.incarnation for at in positions):
            return None, "log-lost"
        return min(positions, key=lambda at: at.sequence), ""


_current: ContextVar[CurrentRun | None] = ContextVar("taskcache_run", default=None)


def current_run() -> CurrentRun | None:
    """Return the run that the current code is part of."""
    return _current.get()


def context_apart() -> Context:
    """Return a copy of the context for what runs in the background: part of no run and no block."""
    context = copy_context()
    context.run(_current.set, None)
    context.run(mode_in_force.set, (None, None))
    return context


@contextmanager
def running(run: CurrentRun) -> Iterator[None]:
    """Make a run the current one inside."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def made_inside(run: CurrentRun, call: Call | None, position: Position | None) -> Iterator[None]:
    """Let the current run depend on another that is made inside, whatever its end.

    Args:
        run: The other.
        call: Its call; None for one without a key.
        position: A position of the log from before it; None where there is none.
    """
    try:
        yield
    finally:
        outer = current_run()
        if outer is not None:
            outer.depend_on_run(call, position, run)


def depend_on_hit(call: Call, hit: Hit, log: object) -> None:
    """Note a hit that goes into the current run's result, if there is one (D1).

    Args:
        call: The call.
        hit: The hit.
        log: Identity of its log.
    """
    run = current_run()
    if run is not None and run.is_of_same_log(log, hit.as_of):
        staleness = max(0.0, -hit.fresh_left) if hit.verdict.is_stale else None
        run.depend((*call.marks, *hit.entry.marks), hit.as_of, staleness)


def cache_control(
    *,
    ttl: float | timedelta | None = None,
    stale_while_revalidate: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    tags: Collection[str] | None = None,
    cost: float | None = None,
    store: bool | None = None,
    etag: str | None = None,
) -> None:
    """Decide, in a cached run, about the entry that its result makes; elsewhere, do nothing.

    Tags add up; of the rest the last word counts. None leaves a thing as it is.

    Args:
        ttl: Seconds or timedelta that the result is fresh; with 0 or less it isn't stored.
        stale_while_revalidate: Seconds or timedelta of that window, in place of the task's.
        stale_if_error: Likewise.
        tags: Tags to invalidate it by, beside the call's own.
        cost: The cost of the run, in the user's unit.
        store: Whether the result is stored.
        etag: A validator that is kept with it (RFC 9110, section 8.8.3), for ``cache_previous()``.

    Raises:
        TypeError: A value is of another type.
        ValueError: A duration is longer than 366 days or less than 0 (but a ttl), a cost negative,
            an etag too long, or there are too many tags.
    """
    run = current_run() or CurrentRun()
    said = {
        "ttl": ttl,
        "stale_while_revalidate": stale_while_revalidate,
        "stale_if_error": stale_if_error,
        "tags": tags,
        "cost": cost,
        "store": store,
        "etag": etag,
    }
    for name, value in said.items():
        if value is not None:
            run.say(name, value)


def cache_previous() -> Previous | None:
    """Return the entry that the current run is about to replace: its value, age and etag.

    None outside of a cached run, and where there is no valid entry: only refreshes, and runs in
    place of a stale entry, have one. It costs a round trip when it is first called.
    """
    run = current_run()
    return run.previous if run is not None else None
