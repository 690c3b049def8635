"""The writer: fills the cache with the results of runs, unless there is a reason against it.

A fill carries the log's position from before the run, and every reader checks for invalidations
since, so a late fill is harmless.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...core.entries import marks
from ...core.entries.entry import Entry, Position, pack, pack_head, peek
from ...core.events import Filled
from ...core.record import record
from ...errors import OversizedResult, StoreUnavailable
from ...stores.protocol import Fill, Look, Poll, Release, SetMarks, StoreReply
from ..outcome import Call
from ..plan import Plan, execute_looks
from ..runs.current_run import CurrentRun, Previous
from .new_entry import make_entry
from .parts import Parts

#: Seconds for which equal calls don't wait for one another after a run without a result to share:
#: at least, and at most; in between, this many run times, so that those just begun can tell.
UNSHARED_FOR = 5.0
UNSHARED_AT_MOST = 60.0
UNSHARED_RUNS = 2.0


@record
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
        if decided is not None and decided.sent:
            yield from self._take_in_sent(decided)
        try:
            entry, reason = make_entry(
                self.parts,
                call,
                position,
                value,
                run_seconds=run_seconds,
                task_id=task_id,
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

    def _take_in_sent(self, decided: CurrentRun) -> Plan[None]:
        """Note what the entries were made from whose calls the run has sent as messages.

        One that has ended was no valid answer, or is none any more: a worker's memory may have
        answered with it for Δ, and what was made from it must not outlive that.
        """
        calls = tuple(decided.sent.values())
        looks = [Look(call.key, call.marks, own_marks=True) for call in calls]
        try:
            replies = yield from execute_looks(looks, None, {})
            for call, looked in zip(calls, replies, strict=True):
                entry = peek(call.key, looked.frame or b"", self.parts.secret)
                at, found = looked.position, looked.marks
                if entry is None or at is None:
                    continue
                if not looked.own_marks:
                    log: StoreReply = yield Poll(marks=entry.marks)
                    found = log.marks
                bans = self.parts.l1.bans(at, looked.banned)
                is_valid = bans is not None and marks.is_valid(entry, found, at, bans)
                decided.depend(entry.marks, None if is_valid else entry.born)
        except StoreUnavailable:
            return

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
            born = entry.born.incarnation
            stored: bool = yield Fill(entry.key, frame, lifetime, counts, owner, incarnation=born)
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


def unshared_for(run_seconds: float, pause: float = 0.0) -> float:
    """Return the seconds for which equal calls don't wait after a run without a result (C6)."""
    return min(max(UNSHARED_FOR, UNSHARED_RUNS * run_seconds) + pause, UNSHARED_AT_MOST)
