"""The reader: finds a call's entry in L1 or L2, and judges whether it may be served.

L1 answers when its last poll of the log is recent enough; when only the poll is missing, the log is
polled; otherwise L2 is read, whose reply brings the newest log records along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.entries.decide import Verdict, decide, judge_age
from ...core.entries.entry import HEADER_BYTES, Entry, Position, head_end, unpack
from ...core.entries.lease import Claim
from ...core.entries.marks import Ban, is_valid, soft
from ...core.events import InvalidationsRead
from ...core.interruption import handled_now, raise_interruption
from ...core.results.codec import UNBOUNDED
from ...core.results.remembered_errors import decode_error
from ...errors import CircuitOpen, EntryError, StoreUnavailable
from ...stores.memory.l1_cache import L1Entry
from ...stores.protocol import Bans, Look, Poll, ReadBans, Release, StoreReply
from ..outcome import Call, Hit, Miss
from ..plan import AT_ONCE, Plan, execute_looks
from ..runs.current_run import Previous
from .parts import Parts

#: The reason of a miss with an entry that is older than its caller accepts.
TOO_OLD = "too-old"

#: Reasons of misses whose old entry the run replaces, and may ask for.
REPLACED = (Verdict.EARLY.value, Verdict.STALE.value, Verdict.ENDED.value, TOO_OLD)


#: What was read of a frame: an entry; why it is none; or None without a frame.
Read = Entry | EntryError | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Finds results. Its methods return plans.

    Attributes:
        parts: The engine's parts.
        with_own_marks: Names of tasks whose looks bring the marks along that entries name
            themselves: this process's copy of the log didn't have all that it needed.
    """

    parts: Parts
    with_own_marks: set[str] = field(default_factory=set)

    def find(self, call: Call, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """Find a call's result; a miss takes its lease on the way if a claim is made."""
        now = self.parts.clock()
        held = self.parts.l1.find(call.key, now, call.marks)
        if held is not None and not self.parts.l1.is_trusted(now):
            yield from self._poll(now)
            held = (
                self.parts.l1.find(call.key, now, call.marks)
                if self.parts.l1.is_trusted(now)
                else None
            )
        hit = self._decode(call, held, now) if held is not None else None
        return hit if hit is not None else (yield from self._find_in_store(call, claim))

    def find_in_l1(self, call: Call, now: float) -> Hit | None:
        """Find a call's result in L1; None without one, and where the log has to be polled."""
        l1 = self.parts.l1
        if not l1.is_trusted(now):
            return None
        held = l1.find(call.key, now, call.marks)
        return None if held is None else self._decode(call, held, now)

    def find_many(
        self, calls: Sequence[Call], claims: Sequence[Claim | None]
    ) -> Plan[list[Hit | Miss]]:
        """Find the results of several calls as ``find`` does, with one look at L2 for 500 of them.

        Args:
            calls: The calls.
            claims: The claim of each call, made when there is no result.
        """
        now = self.parts.clock()
        l1 = [
            i
            for i, call in enumerate(calls)
            if self.parts.l1.find(call.key, now, call.marks) is not None
        ]
        in_store = sorted(set(range(len(calls))).difference(l1))
        found: dict[int, Hit | Miss] = {}

        def look(wanted: list[int]) -> Plan[None]:
            for start in range(0, len(wanted), AT_ONCE):
                at = wanted[start : start + AT_ONCE]
                replies = yield from self._find_all_in_store(
                    [calls[i] for i in at], [claims[i] for i in at]
                )
                found.update(zip(at, replies, strict=True))

        if in_store:
            yield from look(in_store)  # which polls the log as well
        elif not self.parts.l1.is_trusted(now):
            yield from self._poll(now)
        for i in l1 if self.parts.l1.is_trusted(now) else ():
            held = self.parts.l1.find(calls[i].key, now, calls[i].marks)
            hit = self._decode(calls[i], held, now) if held is not None else None
            if hit is not None:
                found[i] = hit
        if ended := [i for i in l1 if i not in found]:
            yield from look(ended)
        return [found[i] for i in range(len(calls))]

    def _find_in_store(self, call: Call, claim: Claim | None) -> Plan[Hit | Miss]:
        found = yield from self._find_all_in_store([call], [claim])
        return found[0]

    def _find_all_in_store(
        self, calls: Sequence[Call], claims: Sequence[Claim | None]
    ) -> Plan[list[Hit | Miss]]:
        looked = yield from self._look_in_store(calls, claims)
        found = [first for first, _ in looked]
        again: dict[int, Claim] = {}
        for i, (call, claim) in enumerate(zip(calls, claims, strict=True)):
            if claim is not None and (anew := self._claim_anew(call, claim, *looked[i])):
                again[i] = anew
        if again:
            at = list(again)
            second = yield from self._look_in_store([calls[i] for i in at], list(again.values()))
            for i, (outcome, _) in zip(at, second, strict=True):
                found[i] = outcome
        return found

    def _claim_anew(self, call: Call, claim: Claim, found: Hit | Miss, known: int) -> Claim | None:
        """Return the claim to look again with; None where the first look counts.

        It doesn't where the store's lease rests on an entry or a leader that don't count here.

        Args:
            call: The call.
            claim: The claim that was made.
            found: The hit or miss of the first look.
            known: Sequence of the newest ban that the claim knew of.
        """
        lease = found.lease if isinstance(found, Miss) else None
        if lease is None or lease.is_ours:
            return None
        if lease.stage is None:
            # The store takes the entry for valid, and this process can't use it; or it came late.
            return replace(claim, regardless=True)
        # Or the claim didn't know of a ban, which may have ended the run in flight.
        return claim if self.parts.l1.banned_at(call.key) > known else None

    def _look_in_store(
        self, calls: Sequence[Call], claims: Sequence[Claim | None]
    ) -> Plan[list[tuple[Hit | Miss, int]]]:
        """Look into L2: return each hit or miss, and the newest ban that its claim knew of."""
        now = self.parts.clock()
        counts = self.parts.counters.take(now)
        known = [self.parts.l1.banned_at(call.key) for call in calls]
        looks = [
            Look(
                call.key,
                call.marks,
                claim=claim and replace(claim, newest_ban=ban),
                own_marks=call.task in self.with_own_marks,
            )
            for call, claim, ban in zip(calls, claims, known, strict=True)
        ]
        since = self.parts.l1.position
        try:
            try:
                replies = yield from execute_looks(looks, since, counts)
            except StoreUnavailable:
                self.parts.counters.put_back(counts)
                raise
            if replies[0].position is None:  # the next command opens a new incarnation
                since = None
                replies = yield from execute_looks(looks, None, {})
        except StoreUnavailable as error:
            if not isinstance(error, CircuitOpen):  # then nothing was sent
                self._abandon(calls, claims)
            return [(Miss("unavailable", None), 0)] * len(calls)
        self._advance(replies[0], now, since)
        found: list[tuple[Hit | Miss, int]] = []
        read = [self._unpack(call, reply) for call, reply in zip(calls, replies, strict=True)]
        complete = yield from self._with_own_marks(calls, replies, read)
        for i, call in enumerate(calls):
            try:
                settled = yield from self._settle(call, _checked(complete[i]), read[i], now)
                found.append((settled, known[i]))
            except StoreUnavailable:
                self._abandon(calls[i : i + 1], claims[i : i + 1])
                found.append((Miss("unavailable", None), 0))
        return found

    def _abandon(self, calls: Sequence[Call], claims: Sequence[Claim | None]) -> None:
        for call, claim in zip(calls, claims, strict=True):
            if claim is not None:
                self.parts.abandon(call.key, claim.owner)

    def _settle(self, call: Call, looked: StoreReply, read: Read, now: float) -> Plan[Hit | Miss]:
        found = yield from self._judge(call, looked, read, now)
        lease = looked.lease
        if isinstance(found, Miss):
            # The lease was given after the marks were read, at a position of its own.
            position = lease.position if lease and lease.position else found.position
            return replace(found, position=position, lease=lease)
        if lease is not None and lease.is_ours:  # the store took the entry for ended, too early
            try:
                yield Release(call.key, lease.owner)
            except StoreUnavailable:
                self.parts.abandon(call.key, lease.owner)
        return found

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
        read = self._unpack(call, looked)
        complete = yield from self._with_own_marks([call], [looked], [read])
        return (yield from self._judge(call, _checked(complete[0]), read, now, failed=failed))

    def _unpack(self, call: Call, looked: StoreReply) -> Read:
        try:
            return unpack(call.key, looked.frame, self.parts.secret) if looked.frame else None
        except EntryError as error:
            return error

    def _with_own_marks(
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
            if set(entry.marks) <= set(call.marks):
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
                _check_same_log(found.position, replies[i].position)
                complete[i] = _with_marks(replies[i], entry, found.marks)
        except StoreUnavailable:
            return [None if i in lacking else reply for i, reply in enumerate(complete)]
        return complete

    def _judge(
        self, call: Call, looked: StoreReply, read: Read, now: float, *, failed: bool = False
    ) -> Plan[Hit | Miss]:
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

    def find_previous(self, call: Call) -> Plan[Previous | None]:
        """Find the entry that a run is about to replace; None unless it is valid and readable."""
        now: StoreReply
        try:
            now = yield Look(call.key, call.marks)
            if now.frame is None or now.position is None or now.remaining <= 0:
                return None
            entry = unpack(call.key, now.frame, self.parts.secret)
            found = yield Poll(marks=entry.marks)
            at = _check_same_log(found.position, now.position)
            bans = yield from self.bans(at, found.banned)
            marks = {**now.marks, **found.marks}
            if entry.is_failure or not is_valid(entry, marks, at, bans, call.marks):
                return None
            if (entry.serializer, entry.compression) != call.policy.stored_as:
                return None
            value = self._value(entry, call.policy.max_bytes)
        except (EntryError, StoreUnavailable):
            return None
        age = max(0.0, entry.lifetime - now.remaining)
        header, payload_at = now.frame[:HEADER_BYTES], head_end(now.frame)
        return Previous(value, age, entry.etag, entry, header, payload_at)

    def bans(self, at: Position, newest: int) -> Plan[Sequence[Ban]]:
        """Return all pattern bans: this process's copy, or read anew after a gap."""
        known = self.parts.l1.bans(at, newest)
        if known is not None:
            return known
        read: Bans = yield ReadBans()
        self.parts.l1.add_bans(read.bans, _check_same_log(read.position, at))
        return read.bans

    def _decode(self, call: Call, held: L1Entry, now: float) -> Hit | None:
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
        value = self._value(entry, policy.max_bytes)
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

    def _value(self, entry: Entry, max_bytes: int) -> Any:
        return self.parts.codecs.decode(
            entry.payload, entry.serializer, entry.compression, max_bytes=max_bytes
        )

    def copy_of(self, hit: Hit) -> Hit:
        """Return the hit for another caller, with a value of its own (promise R2)."""
        # Unbounded: its size was checked when the hit was found.
        return replace(hit, value=self._value(hit.entry, UNBOUNDED))

    def _poll(self, now: float) -> Plan[None]:
        position = self.parts.l1.position
        if position is None:
            return
        counts = self.parts.counters.take(now)
        try:
            looked: StoreReply = yield Poll(position, counts)
        except StoreUnavailable:
            self.parts.counters.put_back(counts)
        else:
            self._advance(looked, now, position)

    def _advance(self, looked: StoreReply, now: float, since: Position | None) -> None:
        """Take in what a poll of the log has brought that was sent with a position."""
        known = self.parts.l1.position
        # Looks that were sent together bring the same records.
        news = [r for r in looked.records or () if not known or r.sequence > known.sequence]
        if news:
            self.parts.observe(InvalidationsRead(len(news), self.parts.l1.lag(now)))
        self.parts.l1.advance(looked.position, looked.records, now, since)


def _checked(reply: StoreReply | None) -> StoreReply:
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


def _check_same_log(position: Position | None, before: Position | None) -> Position:
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
