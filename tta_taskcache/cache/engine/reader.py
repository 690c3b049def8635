"""The reader: finds a call's entry in L1 or L2; the judgement decides whether it is served.

L1 answers when its last poll of the log is recent enough; when only the poll is missing, the log is
polled; otherwise L2 is read, whose reply brings the newest log records along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.entries.entry import HEADER_BYTES, Position, head_end, unpack
from ...core.entries.lease import Claim
from ...core.entries.marks import is_valid
from ...core.events import InvalidationsRead
from ...core.record import record
from ...core.results.codec import UNBOUNDED
from ...errors import CircuitOpen, EntryError, StoreUnavailable
from ...stores.protocol import Look, Poll, Release, StoreReply
from ..outcome import Call, Hit, Miss
from ..plan import AT_ONCE, Plan, execute_looks
from ..runs.current_run import Previous
from .judgement import Judgement, Read, check_same_log, checked
from .parts import Parts


@record
class Reader:
    """Finds results. Its methods return plans.

    Attributes:
        parts: The engine's parts.
        judgement: Judges entries.
    """

    parts: Parts
    judgement: Judgement

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
        hit = self.judgement.decode(call, held, now) if held is not None else None
        return hit if hit is not None else (yield from self._find_in_store(call, claim))

    def find_in_l1(self, call: Call, now: float) -> Hit | None:
        """Find a call's result in L1; None without one, and where the log has to be polled."""
        l1 = self.parts.l1
        if not l1.is_trusted(now):
            return None
        held = l1.find(call.key, now, call.marks)
        return None if held is None else self.judgement.decode(call, held, now)

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
            hit = self.judgement.decode(calls[i], held, now) if held is not None else None
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
                claim=replace(claim, newest_ban=ban) if claim and ban else claim,
                own_marks=call.task in self.judgement.with_own_marks,
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
        read = [
            self.judgement.unpack(call, reply) for call, reply in zip(calls, replies, strict=True)
        ]
        complete = yield from self.judgement.add_own_marks(calls, replies, read)
        for i, call in enumerate(calls):
            try:
                settled = yield from self._settle(call, checked(complete[i]), read[i], now)
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
        found = yield from self.judgement.judge_read(call, looked, read, now)
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

    def find_previous(self, call: Call) -> Plan[Previous | None]:
        """Find the entry that a run is about to replace; None unless it is valid and readable."""
        now: StoreReply
        try:
            now = yield Look(call.key, call.marks)
            if now.frame is None or now.position is None or now.remaining <= 0:
                return None
            entry = unpack(call.key, now.frame, self.parts.secret)
            found = yield Poll(marks=entry.marks)
            at = check_same_log(found.position, now.position)
            bans = yield from self.judgement.bans(at, found.banned)
            marks = {**now.marks, **found.marks}
            if entry.is_failure or not is_valid(entry, marks, at, bans, call.marks):
                return None
            if (entry.serializer, entry.compression) != call.policy.stored_as:
                return None
            value = self.judgement.value_of(entry, call.policy.max_bytes)
        except (EntryError, StoreUnavailable):
            return None
        age = max(0.0, entry.lifetime - now.remaining)
        header, payload_at = now.frame[:HEADER_BYTES], head_end(now.frame)
        return Previous(value, age, entry.etag, entry, header, payload_at)

    def copy_of(self, hit: Hit) -> Hit:
        """Return the hit for another caller, with a value of its own (promise R2)."""
        # Unbounded: its size was checked when the hit was found.
        return replace(hit, value=self.judgement.value_of(hit.entry, UNBOUNDED))

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
