"""Filling: what a run has returned becomes an entry, unless there is a reason against it.

A fill carries the log's position from before the computation; whether an invalidation came in
between is checked by every reader, so a late fill is harmless.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..core import marks
from ..core.entry import Entry, Position, pack
from ..core.events import Filled
from ..core.policy import Policy
from ..errors import OversizedResult, StoreUnavailable, UnserializableResult
from ..stores.protocol import Fill, Look, Release, SetMarks, StoreReply
from .outcome import Call
from .parts import Parts
from .plan import Plan

#: A run longer than this is not stored: the log doesn't remember invalidations for longer (s).
MAX_RUN = 23 * 3600.0

#: Seconds for which equal calls don't wait for one another after a result that can't be stored.
UNSHARED_FOR = 5.0


@dataclass(frozen=True, slots=True)
class Writer:
    """Stores results. Its methods return plans."""

    parts: Parts

    def position(self, call: Call) -> Plan[Position | None]:
        """The log's position now, to store a result with; None when there is none to be had."""
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
    ) -> Plan[bool]:
        """Store the result of a run. Never raises for a fault of the store or of the result.

        Args:
            call: The call.
            position: The log's position from before the run (``Miss.position``).
            value: The result.
            run_seconds: How long the run took.
            task_id: Id of the task that ran.
            cost: What the run cost, in the user's unit.
            owner: Of the lease that the run was led with. It ends with the fill; when it is
                another's by now, nothing is stored.
            replaces: Whether there may be an entry that is still valid: then other processes are
                told (one more round trip), whose memory would hold on to it.
            remember_for: Seconds, when the value is an exception to be remembered.

        Returns:
            Whether it was stored, and others told if need be.
        """
        started = self.parts.clock()
        try:
            entry, reason = self._entry(
                call, position, value, run_seconds, task_id, cost=cost, remember_for=remember_for
            )
        except OversizedResult as error:
            return (yield from self.refuse(call, owner, "too-large", error.size))
        if entry is None:
            return (yield from self.refuse(call, owner, reason))
        size, reason = yield from self._store(entry, owner)
        if replaces and not reason:
            try:
                yield SetMarks((marks.replaced(call.key),))
            except StoreUnavailable:
                reason = "unannounced"
            self.parts.l1.require_poll()
        seconds = self.parts.clock() - started
        self.parts.observe(Filled(call.task, call.key, size, reason, seconds))
        return not reason

    def refuse(self, call: Call, owner: str, reason: str, size: int = 0) -> Plan[bool]:
        """Leave a result unstored, for a reason. Only the lease ends; returns False.

        Args:
            call: The call.
            owner: Of the lease that the run was led with.
            reason: The word under which it is counted.
            size: The result's bytes, if they are the reason.
        """
        if owner:
            with suppress(StoreUnavailable):  # it lapses
                yield Release(call.key, owner, UNSHARED_FOR)
        self.parts.observe(Filled(call.task, call.key, size, reason))
        return False

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
    ) -> tuple[Entry | None, str]:
        """The entry of a result, or why there is none.

        Raises:
            OversizedResult: It is larger than ``cache_max_bytes``.
        """
        if position is None:
            return None, "unavailable"
        if run_seconds > MAX_RUN:
            return None, "too-late"
        policy = call.policy
        fresh_for = remember_for or policy.fresh_for(self.parts.draw())
        stale_for = 0.0 if remember_for else policy.stale_for
        revalidated_for = 0.0 if remember_for else policy.stale_while_revalidate
        if not remember_for and (reason := refuses(policy, value)):
            return None, reason
        try:
            payload = self.parts.codecs.encode(
                value, policy.serializer, policy.compression, max_bytes=policy.max_bytes
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
            born=position,
            marks=call.marks,
            serializer=policy.serializer,
            compression=policy.compression,
            payload=payload,
            traits=call.traits,
        )
        return entry, ""

    def _store(self, entry: Entry, owner: str) -> Plan[tuple[int, str]]:
        """Store an entry: its size, and why it wasn't stored."""
        now = self.parts.clock()
        frame = pack(entry, self.parts.secret)
        # Runs are rare and dear: each hands over what was counted.
        counts = self.parts.counters.take(now, interval=0.0)
        try:
            stored: bool = yield Fill(entry.key, frame, entry.lifetime, counts, owner)
        except StoreUnavailable:
            self.parts.counters.put_back(counts)
            if owner:
                self.parts.abandon(entry.key, owner)
            return len(frame), "unavailable"
        if not stored:
            return len(frame), "lease-lost"
        self.parts.l1.put(entry, now + entry.lifetime, entry.born.sequence)
        return len(frame), ""


def refuses(policy: Policy, value: Any) -> str:
    """Why the task's ``cache_if`` doesn't want a result stored, or nothing."""
    if policy.if_ is None:
        return ""
    try:
        return "" if policy.if_(value) else "cache-if"
    except Exception:  # noqa: BLE001 - the task has run, and is not to fail for this
        return "cache-if-failed"
