"""The judgement of an entry: whether it may be served, by its marks, its age and its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from ...core.entries.decide import Verdict, decide, judge_age
from ...core.entries.entry import Entry, Position, unpack
from ...core.entries.marks import Ban, soft
from ...core.interruption import handled_now, raise_interruption
from ...core.record import record
from ...core.results.remembered_errors import decode_error
from ...errors import EntryError, StoreUnavailable
from ...stores.memory.l1_cache import L1Entry
from ...stores.protocol import Bans, Poll, ReadBans, StoreReply
from ..outcome import Call, Hit, Miss
from ..plan import Plan
from .parts import Parts

#: The reason of a miss with an entry that is older than its caller accepts.
TOO_OLD = "too-old"

#: Reasons of misses whose old entry the run replaces, and may ask for.
REPLACED = (Verdict.EARLY.value, Verdict.STALE.value, Verdict.ENDED.value, TOO_OLD)


#: What was read of a frame: an entry; why it is none; or None without a frame.
Read = Entry | EntryError | None


@record
class Judgement:
    """Judges entries. Its methods return plans, but for those that read nothing.

    Attributes:
        parts: The engine's parts.
        with_own_marks: Names of tasks whose looks bring the marks along that entries name
            themselves: this process's copy of the log didn't have all that it needed.
    """

    parts: Parts
    with_own_marks: set[str] = field(default_factory=set)

    def judge(
        self, call: Call, looked: StoreReply, now: float, *, failed: bool = False
    ) -> Plan[Hit | Miss]:
        """Judge the store's reply, which has a position: a hit, or a miss with its reason.

        Args:
            call: The call.
            looked: The store's reply.
            now: The time (monotonic seconds).
            failed: Whether a run has just failed, for which a stale entry may stand in.

        Raises:
            StoreUnavailable: What else is needed can't be read.
        """
        read = self.unpack(call, looked)
        complete = yield from self.add_own_marks([call], [looked], [read])
        return (yield from self.judge_read(call, checked(complete[0]), read, now, failed=failed))

    def unpack(self, call: Call, looked: StoreReply) -> Read:
        """Return what a reply holds of a frame."""
        try:
            return unpack(call.key, looked.frame, self.parts.secret) if looked.frame else None
        except EntryError as error:
            return error

    def add_own_marks(
        self, calls: Sequence[Call], replies: Sequence[StoreReply], read: Sequence[Read]
    ) -> Plan[list[StoreReply | None]]:
        """Add the marks that entries name themselves: their runs' tags, what they were made from.

        Those set since an entry's birth are in this process's copy of the log, if it goes back so
        far. Else they are read, in one round trip for all, and later looks bring them along.

        Returns:
            The replies; None where the store can't be read.
        """
        complete: list[StoreReply | None] = list(replies)
        lacking: dict[int, Entry] = {}
        for i, (call, looked, entry) in enumerate(zip(calls, replies, read, strict=True)):
            at = looked.position
            if not isinstance(entry, Entry) or at is None or looked.own_marks:
                continue
            if entry.marks == call.marks or set(entry.marks) <= set(call.marks):
                continue
            copied = self.parts.l1.marks_since(entry.born, at)
            if copied is None:
                lacking[i] = entry
            else:
                complete[i] = _with_marks(looked, entry, copied)
        if not lacking:
            return complete
        self.with_own_marks.update(calls[i].task for i in lacking)
        names = dict.fromkeys(name for entry in lacking.values() for name in entry.marks)
        try:
            found: StoreReply = yield Poll(marks=tuple(names))
            for i, entry in lacking.items():
                check_same_log(found.position, replies[i].position)
                complete[i] = _with_marks(replies[i], entry, found.marks)
        except StoreUnavailable:
            return [None if i in lacking else reply for i, reply in enumerate(complete)]
        return complete

    def judge_read(
        self, call: Call, looked: StoreReply, read: Read, now: float, *, failed: bool = False
    ) -> Plan[Hit | Miss]:
        """Judge what was read of a reply that has all marks, as ``judge`` does."""
        at = looked.position
        if at is None:
            return Miss("log-lost", None)
        if isinstance(read, EntryError):
            return Miss(read.reason, at)
        bans = yield from self.bans(at, looked.banned)
        remaining = min(looked.remaining, read.lifetime) if read else 0.0
        verdict = decide(
            read,
            remaining,
            looked.marks,
            at,
            call.policy,
            bans=bans,
            names=call.marks,
            draw=1.0 - self.parts.draw(),
        )
        if failed and verdict in (Verdict.ENDED, Verdict.STALE):
            verdict = Verdict.STALE_IF_ERROR
        if read is None or not verdict.answers:
            return Miss(verdict.value, at)
        if not call.accepts(read, remaining, verdict):
            return Miss(TOO_OLD, at)
        try:
            value = self._valid_value(call, read)
        except EntryError as error:
            return Miss(error.reason, at)
        hit = Hit(read, value, self.parts.store_layer, remaining, verdict, at)
        # L1 may not have the mark that has made an entry stale early.
        if not hit.is_stale_early:
            self.parts.l1.put(read, now + remaining, at.sequence, call.marks)
        return hit

    def bans(self, at: Position, newest: int) -> Plan[Sequence[Ban]]:
        """Return all pattern bans: this process's copy, or read anew after a gap."""
        known = self.parts.l1.bans(at, newest)
        if known is not None:
            return known
        read: Bans = yield ReadBans()
        self.parts.l1.add_bans(read.bans, check_same_log(read.position, at))
        return read.bans

    def decode(self, call: Call, held: L1Entry, now: float) -> Hit | None:
        """Return the hit of an entry of L1; None, and drop it, if it can't answer the call."""
        entry, remaining, policy = held.entry, held.deadline - now, call.policy
        if entry.serializer == policy.serializer and entry.compression == policy.compression:
            # Only an entry with a stale window may be refreshed early.
            has_window = policy.stale_while_revalidate or entry.windows
            draw = 1.0 - self.parts.draw() if has_window else 1.0
            verdict = judge_age(entry, remaining, policy, draw)
            if verdict is Verdict.FRESH or verdict.answers:
                if call.max_age is not None and not call.accepts(entry, remaining, verdict):
                    return None
                try:
                    value = self._valid_value(call, entry)
                except EntryError:
                    pass  # the look into L2 counts it
                else:
                    return Hit(entry, value, "l1", remaining, verdict, held.as_of)
        self.parts.l1.entries.drop(call.key)
        return None

    def _valid_value(self, call: Call, entry: Entry) -> Any:
        """Decode the entry's value.

        Raises:
            EntryError: The value can't be read, the task's ``cache_validate`` refuses it, or it is
                a failure that can't be raised here as it was.
        """
        policy = call.policy
        value = self.value_of(entry, policy.max_bytes)
        validate = policy.validate
        if entry.is_failure:
            decode_error(value, policy)
        elif validate is not None:
            handled = handled_now()
            try:
                is_served = validate(value)
            except Exception as error:
                raise_interruption(error, self.parts.codecs.interruptions, handled)
                raise EntryError("validate-failed", f"cache_validate: {error!r}") from error
            if not is_served:
                raise EntryError("invalid", "cache_validate refuses it")
        return value

    def value_of(self, entry: Entry, max_bytes: int) -> Any:
        """Decode an entry's value.

        Raises:
            EntryError: It can't be read, or is too large.
        """
        return self.parts.codecs.decode(
            entry.payload, entry.serializer, entry.compression, max_bytes=max_bytes
        )


def checked(reply: StoreReply | None) -> StoreReply:
    """Return a reply.

    Raises:
        StoreUnavailable: There is none.
    """
    if reply is None:
        raise StoreUnavailable("the marks of an entry can't be read")
    return reply


def _with_marks(looked: StoreReply, entry: Entry, found: Mapping[str, int]) -> StoreReply:
    """Return a reply with those of some marks that an entry names itself."""
    names = (*entry.marks, *map(soft, entry.marks))
    return replace(looked, marks=looked.marks | {n: found[n] for n in names if n in found})


def check_same_log(position: Position | None, before: Position | None) -> Position:
    """Check that a second read is of the same log, and not older than the first.

    Raises:
        StoreUnavailable: The log was lost in between.
    """
    if (
        position is None
        or before is None
        or position.incarnation != before.incarnation
        or position.sequence < before.sequence
    ):
        raise StoreUnavailable("the log was lost between two reads")
    return position
