"""Reading: what is stored for a call, in L1 or L2, and whether it may be served.

L1 answers when its last poll of the log is recent enough; when only that is missing, the log is
polled; otherwise L2 is looked into, and its answer brings the newest log records along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import random
from time import monotonic
from typing import Any

from ..core.codec import Codecs
from ..core.decide import Verdict, decide, judge_age
from ..core.entry import Entry, Position, unpack
from ..core.events import InvalidationsRead, Observe
from ..core.lease import Claim
from ..core.marks import Ban
from ..errors import CircuitOpen, EntryError, StoreUnavailable
from ..observability.counters import Counters
from ..stores.l1_cache import L1Cache, L1Entry
from ..stores.protocol import Bans, Look, Poll, ReadBans, Release, StoreReply
from .outcome import Call, Hit, Miss
from .plan import Plan, execute_looks


@dataclass(slots=True, kw_only=True)
class Reader:
    """Finds results. Its methods return plans.

    Attributes:
        l1: L1.
        codecs: Serializers and compressors.
        counters: What to hand over to the shared totals on the way.
        observe: Told what happens.
        secret: Key of the entries' signatures; empty for a plain checksum.
        store_layer: Name of the layer behind L1.
        abandon: Told the key and the owner of a lease that may be held without anybody's knowing:
            the reply was lost.
        clock: Monotonic seconds.
        draw: Chance: a number from [0, 1).
    """

    l1: L1Cache
    codecs: Codecs
    counters: Counters
    observe: Observe
    secret: bytes = b""
    store_layer: str = "l2"
    abandon: Callable[[str, str], None] = lambda _key, _owner: None
    clock: Callable[[], float] = monotonic
    draw: Callable[[], float] = random

    def find(self, call: Call, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """Find a call's result; without one, take its lease on the way if a claim is made."""
        now = self.clock()
        held = self.l1.find(call.key, now)
        if held is not None and not self.l1.is_trusted(now):
            yield from self._poll(now)
            held = self.l1.find(call.key, now) if self.l1.is_trusted(now) else None
        hit = self._decode(call, held, now) if held is not None else None
        return hit if hit is not None else (yield from self._find_in_store(call, claim))

    def find_many(
        self, calls: Sequence[Call], claims: Sequence[Claim | None]
    ) -> Plan[list[Hit | Miss]]:
        """Find the results of several calls as ``find`` does, with one look at L2 for all.

        Args:
            calls: The calls.
            claims: For each, the claim that is made when there is no result.
        """
        now = self.clock()
        l1 = [i for i, call in enumerate(calls) if self.l1.find(call.key, now) is not None]
        in_store = sorted(set(range(len(calls))).difference(l1))
        found: dict[int, Hit | Miss] = {}

        def look(at: list[int]) -> Plan[None]:
            replies = yield from self._find_all_in_store(
                [calls[i] for i in at], [claims[i] for i in at]
            )
            found.update(zip(at, replies, strict=True))

        if in_store:
            yield from look(in_store)  # which polls the log as well
        elif not self.l1.is_trusted(now):
            yield from self._poll(now)
        for i in l1 if self.l1.is_trusted(now) else ():
            held = self.l1.find(calls[i].key, now)
            hit = self._decode(calls[i], held, now) if held is not None else None
            if hit is not None:
                found[i] = hit
        if ended := [i for i in l1 if i not in found]:
            yield from look(ended)
        return [found[i] for i in range(len(calls))]

    def _find_in_store(self, call: Call, claim: Claim | None) -> Plan[Hit | Miss]:
        found = yield from self._look_in_store([call], [claim])
        return (yield from self._look_again(call, claim, *found[0]))

    def _find_all_in_store(
        self, calls: Sequence[Call], claims: Sequence[Claim | None]
    ) -> Plan[list[Hit | Miss]]:
        found = yield from self._look_in_store(calls, claims)
        settled = []
        for call, claim, first in zip(calls, claims, found, strict=True):
            settled.append((yield from self._look_again(call, claim, *first)))
        return settled

    def _look_again(
        self, call: Call, claim: Claim | None, found: Hit | Miss, known: int
    ) -> Plan[Hit | Miss]:
        """Settle what a look left open: it may have found an entry or a leader that don't count.

        Args:
            call: The call.
            claim: The claim that was made.
            found: What was found.
            known: Sequence of the newest ban that the claim knew of.
        """
        lease = found.lease if isinstance(found, Miss) else None
        if claim is None or lease is None or lease.is_ours:
            return found
        if lease.stage is None:
            # The store found the entry good, and this process can't use it; or it came late.
            claim = replace(claim, regardless=True)
        elif self.l1.banned_at(call.key) <= known:
            return found
        # Else the claim didn't know of a ban, which may have ended what is in flight.
        again = yield from self._look_in_store([call], [claim])
        return again[0][0]

    def _look_in_store(
        self, calls: Sequence[Call], claims: Sequence[Claim | None]
    ) -> Plan[list[tuple[Hit | Miss, int]]]:
        """Look into L2: what is found, and the newest ban that each claim knew of."""
        now = self.clock()
        counts = self.counters.take(now)
        known = [self.l1.banned_at(call.key) for call in calls]
        looks = [
            Look(call.key, call.marks, claim=claim and replace(claim, newest_ban=ban))
            for call, claim, ban in zip(calls, claims, known, strict=True)
        ]
        try:
            try:
                replies = yield from execute_looks(looks, self.l1.position, counts)
            except StoreUnavailable:
                self.counters.put_back(counts)
                raise
            if replies[0].position is None:  # the next command opens a new incarnation
                replies = yield from execute_looks(looks, None, {})
        except StoreUnavailable as error:
            if not isinstance(error, CircuitOpen):  # which says that nothing was sent
                self._abandon(calls, claims)
            return [(Miss("unavailable", None), 0)] * len(calls)
        self._advance(replies[0], now)
        found: list[tuple[Hit | Miss, int]] = []
        for i, call in enumerate(calls):
            try:
                found.append(((yield from self._settle(call, replies[i], now)), known[i]))
            except StoreUnavailable:
                self._abandon(calls[i : i + 1], claims[i : i + 1])
                found.append((Miss("unavailable", None), 0))
        return found

    def _abandon(self, calls: Sequence[Call], claims: Sequence[Claim | None]) -> None:
        for call, claim in zip(calls, claims, strict=True):
            if claim is not None:
                self.abandon(call.key, claim.owner)

    def _settle(self, call: Call, looked: StoreReply, now: float) -> Plan[Hit | Miss]:
        if looked.position is None:
            return Miss("log-lost", None)
        found = yield from self._judge(call, looked, looked.position, now)
        lease = looked.lease
        if isinstance(found, Miss):
            # The lease was given after the marks were read, and notes when.
            position = lease.position if lease and lease.position else found.position
            return replace(found, position=position, lease=lease)
        if lease is not None and lease.is_ours:  # the entry was given up a moment too early
            try:
                yield Release(call.key, lease.owner)
            except StoreUnavailable:
                self.abandon(call.key, lease.owner)
        return found

    def _judge(
        self, call: Call, looked: StoreReply, at: Position, now: float, *, failed: bool = False
    ) -> Plan[Hit | Miss]:
        """What was found is a hit, or a miss for a reason.

        Args:
            call: The call.
            looked: What was found.
            at: The log's position.
            now: The time.
            failed: Whether a run has just failed, for which a stale entry may stand in.
        """
        try:
            entry = unpack(call.key, looked.frame, self.secret) if looked.frame else None
            set_marks = looked.marks
            if entry is not None and not set(entry.marks) <= set(call.marks):
                # It was stored under other tags: their marks count, too.
                again: StoreReply = yield Look(call.key, entry.marks)
                _check_same_log(again.position, at)
                set_marks = again.marks
            bans = yield from self._bans(at, looked.banned)
            remaining = min(looked.remaining, entry.lifetime) if entry else 0.0
            verdict = decide(
                entry, remaining, set_marks, at, call.policy, bans=bans, draw=1.0 - self.draw()
            )
            if failed and verdict in (Verdict.ENDED, Verdict.STALE):
                verdict = Verdict.STALE_IF_ERROR
            if entry is None or not verdict.answers:
                return Miss(verdict.value, at)
            value = self._valid_value(call, entry)
        except EntryError as error:
            return Miss(error.reason, at)
        self.l1.put(entry, now + remaining, at.sequence)
        return Hit(entry, value, self.store_layer, remaining, verdict)

    def _bans(self, at: Position, newest: int) -> Plan[Sequence[Ban]]:
        """All pattern bans: this process's copy of them, or read anew after a gap."""
        known = self.l1.bans(at, newest)
        if known is not None:
            return known
        read: Bans = yield ReadBans()
        self.l1.add_bans(read.bans, _check_same_log(read.position, at))
        return read.bans

    def _decode(self, call: Call, held: L1Entry, now: float) -> Hit | None:
        entry, remaining = held.entry, held.deadline - now
        mine = (call.policy.serializer, call.policy.compression)
        if (entry.serializer, entry.compression) == mine:
            verdict = judge_age(entry, remaining, call.policy, 1.0 - self.draw())
            with suppress(EntryError):  # L2 will tell, and count it
                if verdict.answers:
                    return Hit(entry, self._valid_value(call, entry), "l1", remaining, verdict)
        self.l1.entries.drop(call.key)
        return None

    def _valid_value(self, call: Call, entry: Entry) -> Any:
        """The entry's value.

        Raises:
            EntryError: It can't be read, or the task's ``cache_validate`` refuses it.
        """
        value = self._value(entry)
        validate = call.policy.validate
        if validate is not None and not entry.is_failure:
            try:
                is_valid = validate(value)
            except Exception as error:
                raise EntryError("validate-failed", f"cache_validate: {error!r}") from error
            if not is_valid:
                raise EntryError("invalid", "cache_validate refuses it")
        return value

    def _value(self, entry: Entry) -> Any:
        return self.codecs.decode(entry.payload, entry.serializer, entry.compression)

    def copy_of(self, hit: Hit) -> Hit:
        """The same hit for another caller, with a value of its own (promise R2)."""
        return replace(hit, value=self._value(hit.entry))

    def _poll(self, now: float) -> Plan[None]:
        position = self.l1.position
        if position is None:
            return
        counts = self.counters.take(now)
        try:
            looked: StoreReply = yield Poll(position, counts)
        except StoreUnavailable:
            self.counters.put_back(counts)
        else:
            self._advance(looked, now)

    def _advance(self, looked: StoreReply, now: float) -> None:
        """Take in what a poll of the log has brought."""
        if looked.records:
            self.observe(InvalidationsRead(len(looked.records), self.l1.lag(now)))
        self.l1.advance(looked.position, looked.records, now)


def _check_same_log(position: Position | None, before: Position) -> Position:
    """Refuse a second read that may lack what the log held at the first one."""
    if (
        position is None
        or position.incarnation != before.incarnation
        or position.sequence < before.sequence
    ):
        raise StoreUnavailable("the log was lost between two reads")
    return position
