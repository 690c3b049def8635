"""The writer: fills the cache with the results of runs, unless there is a reason against it.

A fill carries the log's position from before the run, and every reader checks for invalidations
since, so a late fill is harmless.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...core.arguments.labels import MAX_TAGS
from ...core.entries import marks
from ...core.entries.entry import Entry, Position, pack, pack_head
from ...core.events import Filled
from ...core.interruption import Interruptions, handled_now, raise_interruption
from ...core.options.policy import Policy
from ...errors import OversizedResult, StoreUnavailable, UnserializableResult
from ...stores.protocol import Fill, Look, Release, SetMarks, StoreReply
from ..outcome import Call
from ..plan import Plan
from ..runs.current_run import CurrentRun, Previous
from .parts import Parts

#: Seconds of the longest run that is stored: the log remembers no invalidation for longer.
MAX_RUN = 23 * 3600.0

#: Most marks of an entry. Renewals add to those of the entry that they keep.
MAX_MARKS = 4 * MAX_TAGS

#: Seconds for which equal calls don't wait for one another after a run without a result to share:
#: at least, and at most; in between, this many run times, so that those just begun can tell.
UNSHARED_FOR = 5.0
UNSHARED_AT_MOST = 60.0
UNSHARED_RUNS = 2.0


@dataclass(frozen=True, slots=True)
class Writer:
    """Stores results. Its methods return plans."""

    parts: Parts

    def position(self, call: Call) -> Plan[Position | None]:
        """Read the log's position, to store a result with; None when the store can't be read."""
        try:
            looked: StoreReply = yield Look(call.key, ())
            if looked.position is None:  # the next command opens a new incarnation
                looked = yield Look(call.key, ())
        except StoreUnavailable:
            return None
        return looked.position

    def fill(
        self,
        call: Call,
        position: Position | None,
        value: Any,
        *,
        run_seconds: float,
        task_id: str | None,
        cost: float = 0.0,
        owner: str = "",
        replaces: bool = False,
        remember_for: float = 0.0,
        decided: CurrentRun | None = None,
        renews: Previous | None = None,
    ) -> Plan[bool]:
        """Store the result of a run. Never raises for a fault of the store or of the result.

        Args:
            call: The call.
            position: The log's position from before the run (``Miss.position``).
            value: The result.
            run_seconds: Seconds that the run took.
            task_id: Id of the task that ran.
            cost: The cost of the run, in the user's unit.
            owner: Owner of the lease that the run led with, which ends with the fill. Nothing is
                stored when the lease is another's by now.
            replaces: Whether there may be a valid entry, which the memory of other processes would
                keep: the log tells them, at the price of a round trip.
            remember_for: Of a remembered exception: seconds.
            decided: What the run has decided, and what its result is made from.
            renews: The entry that it has found unchanged: its payload is stored already.

        Returns:
            Whether it was stored, and (with ``replaces``) announced.
        """
        started = self.parts.clock()
        try:
            entry, reason = self._entry(
                call,
                position,
                value,
                run_seconds,
                task_id,
                cost=cost,
                remember_for=remember_for,
                decided=decided or CurrentRun(),
                renews=renews,
            )
        except OversizedResult as error:
            return (yield from self.refuse(call, owner, "too-large", run_seconds, error.size))
        if entry is None:
            return (yield from self.refuse(call, owner, reason, run_seconds))
        staleness = (decided.staleness if decided is not None else None) or 0.0
        size, reason = yield from self._store(entry, owner, staleness, renews)
        if replaces and not reason:
            try:
                yield SetMarks((marks.replaced(call.key),))
            except StoreUnavailable:
                reason = "unannounced"
            self.parts.l1.require_poll()
        seconds = self.parts.clock() - started
        self.parts.observe(Filled(call.task, call.key, size, reason, seconds))
        return not reason

    def refuse(
        self, call: Call, owner: str, reason: str, run_seconds: float, size: int = 0
    ) -> Plan[bool]:
        """Leave a result unstored, for a reason, and end the lease; return False.

        Args:
            call: The call.
            owner: Owner of the lease that the run led with; empty if none.
            reason: The word under which it is counted.
            run_seconds: Seconds that the run took.
            size: The result's size in bytes, if that is the reason.
        """
        yield from self.end_unshared(call, owner, run_seconds)
        self.parts.observe(Filled(call.task, call.key, size, reason))
        return False

    def end_unshared(
        self, call: Call, owner: str, run_seconds: float, pause: float = 0.0
    ) -> Plan[None]:
        """End a lease after a run that leaves nothing to share: equal calls don't wait (C6).

        Args:
            call: The call.
            owner: Of the lease; nothing is done when there is none.
            run_seconds: How long the run took.
            pause: Seconds until it is tried again, if it is.
        """
        if owner:
            with suppress(StoreUnavailable):  # then the lease lapses
                yield Release(call.key, owner, unshared_for(run_seconds, pause))

    def _entry(
        self,
        call: Call,
        position: Position | None,
        value: Any,
        run_seconds: float,
        task_id: str | None,
        *,
        cost: float,
        remember_for: float,
        decided: CurrentRun,
        renews: Previous | None,
    ) -> tuple[Entry | None, str]:
        """Make the entry of a result; None, and the reason, when it isn't to be stored.

        Raises:
            OversizedResult: The result is larger than ``cache_max_bytes``.
        """
        if position is None:
            return None, "unavailable"
        if run_seconds > MAX_RUN:
            return None, "too-late"
        born, reason = decided.born(position)
        if not remember_for:
            reason = reason or self._refuses(call.policy, decided, value)
        if born is None or reason:
            return None, reason
        policy = decided.applied_to(call.policy)
        fresh_for = remember_for or policy.fresh_for(self.parts.draw())
        staleness = decided.staleness
        if staleness is not None:  # it is no fresher than what went in
            fresh_for = 0.0
        stale_for = 0.0 if remember_for else policy.stale_for
        revalidated_for = 0.0 if remember_for else policy.stale_while_revalidate
        names = _marks(call, decided)
        is_outlived = staleness is not None and staleness >= stale_for
        if is_outlived or len(names) > MAX_MARKS:
            return None, "stale-dependency" if is_outlived else "too-many-marks"
        try:
            payload = (
                renews.entry.payload
                if renews
                else self.parts.codecs.encode(
                    value, policy.serializer, policy.compression, max_bytes=policy.max_bytes
                )
            )
        except UnserializableResult:
            return None, "unserializable"
        entry = Entry(
            key=call.key,
            task=call.task,
            task_id=task_id,
            created_at=self.parts.wall(),
            lifetime=fresh_for + stale_for,
            fresh_for=fresh_for,
            served_above_ms=int((stale_for - revalidated_for) * 1000),
            is_failure=bool(remember_for),
            run_seconds=run_seconds,
            cost=cost,
            born=born,
            marks=names,
            serializer=policy.serializer,
            compression=policy.compression,
            payload=payload,
            traits=call.traits,
            trace=self.parts.trace(),
            etag=decided.etag,
            windows=(
                None
                if decided.windows == (None, None) or remember_for
                else (policy.stale_while_revalidate, policy.stale_if_error)
            ),
        )
        return entry, ""

    def _refuses(self, policy: Policy, decided: CurrentRun, value: Any) -> str:
        """Return the reason why run or policy refuse a result; empty when they don't."""
        interruptions = self.parts.codecs.interruptions
        return (
            decided.refusal
            or refuses(policy, value, interruptions)
            or decide_by_result(decided, policy, value, interruptions)
        )

    def _store(
        self, entry: Entry, owner: str, staleness: float, renews: Previous | None
    ) -> Plan[tuple[int, str]]:
        """Store an entry; return its size, and the reason if it wasn't stored.

        Args:
            entry: The entry.
            owner: Owner of the lease.
            staleness: Seconds for which it is stale already.
            renews: The entry whose payload it keeps, if that is still stored.
        """
        now, lifetime = self.parts.clock(), entry.lifetime - staleness
        if renews is not None and (yield from self._renew(entry, owner, lifetime, renews)):
            self.parts.l1.entries.drop(entry.key)
            return 0, ""
        frame = pack(entry, self.parts.secret)
        # Runs are rare and dear: each hands over the counts.
        counts = self.parts.counters.take(now, interval=0.0)
        try:
            stored: bool = yield Fill(entry.key, frame, lifetime, counts, owner)
        except StoreUnavailable:
            self.parts.counters.put_back(counts)
            if owner:
                self.parts.abandon(entry.key, owner)
            return len(frame), "unavailable"
        if not stored:
            return len(frame), "lease-lost"
        self.parts.l1.put(entry, now + lifetime, entry.born.sequence)
        return len(frame), ""

    def _renew(self, entry: Entry, owner: str, lifetime: float, renews: Previous) -> Plan[bool]:
        """Put a new head in front of the payload that is stored; False when it is another's."""
        head = pack_head(entry, self.parts.secret)
        fill = Fill(
            entry.key,
            head,
            lifetime,
            owner=owner,
            instead_of=renews.header,
            payload_at=renews.payload_at,
        )
        try:
            kept: bool = yield fill
        except StoreUnavailable:
            return False
        return kept


def _marks(call: Call, decided: CurrentRun) -> tuple[str, ...]:
    """Return the marks that end an entry: the call's, the run's tags, and its dependencies'."""
    if not decided.tags and not decided.marks:
        return call.marks
    return tuple(dict.fromkeys((*call.marks, *map(marks.of_tag, decided.tags), *decided.marks)))


def decide_by_result(
    decided: CurrentRun, policy: Policy, value: Any, interruptions: Interruptions = ()
) -> str:
    """Let the policy's callables of the result decide ttl and tags; return why it isn't stored."""
    handled = handled_now()
    try:
        if policy.ttl_of is not None and decided.ttl is None:
            decided.say("ttl", policy.ttl_of(value))
        if policy.tags_of is not None:
            decided.say("tags", policy.tags_of(value))
    except Exception as error:  # noqa: BLE001 - the task has run, and doesn't fail for this
        raise_interruption(error, interruptions, handled)
        return "cache-ttl-failed" if policy.ttl_of is not None else "cache-tags-failed"
    return decided.refusal


def unshared_for(run_seconds: float, pause: float = 0.0) -> float:
    """Return the seconds for which equal calls don't wait after a run without a result (C6)."""
    return min(max(UNSHARED_FOR, UNSHARED_RUNS * run_seconds) + pause, UNSHARED_AT_MOST)


def refuses(policy: Policy, value: Any, interruptions: Interruptions = ()) -> str:
    """Return the reason why ``cache_if`` refuses a result; empty when it doesn't."""
    if policy.if_ is None:
        return ""
    handled = handled_now()
    try:
        return "" if policy.if_(value) else "cache-if"
    except Exception as error:  # noqa: BLE001 - the task has run, and doesn't fail for this
        raise_interruption(error, interruptions, handled)
        return "cache-if-failed"
