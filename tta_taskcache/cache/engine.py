"""The two levels as one cache.

A read takes L1 when its last poll of the log is recent enough, polls when only that is missing, and
otherwise looks into L2, whose answer brings the newest log records along. A fill carries the log's
position from before the computation; whether an invalidation came in between is checked by
every reader, so a late fill is harmless.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import Any

from ..core import marks
from ..core.codec import Codecs
from ..core.decide import Verdict, decide
from ..core.entry import Entry, Position, pack, unpack
from ..core.events import Filled, Invalidated, Lookup, Observe
from ..core.lease import Claim, Holding
from ..core.marks import Ban
from ..errors import CircuitOpen, EntryError, StoreUnavailable, UnserializableResult
from ..observability.counters import Counters
from ..stores.near import Held, Near
from ..stores.protocol import (
    Bans,
    Batch,
    Count,
    Fill,
    Invalidate,
    Look,
    Looked,
    Poll,
    ReadBans,
    Release,
    Renew,
    Scan,
)
from .outcome import Call, Hit, Miss
from .plan import Plan

#: A run longer than this is not stored: the log doesn't remember invalidations for longer (s).
MAX_RUN = 23 * 3600.0

#: Seconds for which equal calls don't wait for one another after a result that can't be stored.
UNSHARED_FOR = 5.0


@dataclass(slots=True)
class Engine:
    """The cache of one process. Its methods return plans.

    Attributes:
        near: L1.
        codecs: Serializers and compressors.
        observe: Told what happens.
        counters: What to hand over to the shared totals on the way.
        secret: Key of the entries' signatures; empty for a plain checksum.
        far_layer: Name of the layer behind L1.
        abandon: Told the key and the owner of a lease that may be held without anybody's knowing:
            the reply was lost.
        clock: Monotonic seconds.
        wall: Unix seconds, for display.
        draw: Jitter: a number from [0, 1).
    """

    near: Near
    codecs: Codecs
    observe: Observe
    counters: Counters
    secret: bytes = b""
    far_layer: str = "l2"
    abandon: Callable[[str, str], None] = lambda _key, _owner: None
    clock: Callable[[], float] = monotonic
    wall: Callable[[], float] = time
    draw: Callable[[], float] = field(default=random.random)

    def look(self, call: Call, site: str, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """Find a call's result. Never raises for a fault of the store.

        Args:
            call: The call.
            site: Where it is looked for.
            claim: Take the lease on the way, when there is no result.
        """
        found = yield from self.find(call, claim)
        self.tell(call, site, found)
        return found

    def tell(self, call: Call, site: str, found: Hit | Miss) -> None:
        """Tell the observers what a look has found."""
        if isinstance(found, Hit):
            entry = found.entry
            self.observe(
                Lookup(
                    call.task,
                    call.key,
                    site,
                    found.layer,
                    "",
                    saved_seconds=entry.run_seconds,
                    age=found.age,
                    computed_by=entry.task_id,
                )
            )
        else:
            self.observe(Lookup(call.task, call.key, site, None, found.reason))

    def find(self, call: Call, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """``look`` without telling the observers."""
        now = self.clock()
        held = self.near.find(call.key, now)
        if held is not None and not self.near.is_trusted(now):
            yield from self._poll(now)
            held = self.near.find(call.key, now) if self.near.is_trusted(now) else None
        hit = self._decode(call, held, now) if held is not None else None
        return hit if hit is not None else (yield from self._find_far(call, claim))

    def _find_far(self, call: Call, claim: Claim | None) -> Plan[Hit | Miss]:
        try:
            found = yield from self._look_far(call, claim)
            lease = found.lease if isinstance(found, Miss) else None
            if claim is not None and lease is not None and lease.stage is None:
                # The store found the entry good, and this process can't use it; or it came late.
                found = yield from self._look_far(call, replace(claim, regardless=True))
        except StoreUnavailable as error:
            if claim is not None and not isinstance(error, CircuitOpen):
                self.abandon(call.key, claim.owner)
            return Miss("unavailable", None)
        return found

    def _look_far(self, call: Call, claim: Claim | None) -> Plan[Hit | Miss]:
        now = self.clock()
        counts = self.counters.take(now)
        if claim is not None:
            claim = replace(claim, newest_ban=self.near.banned_at(call.key))
        try:
            looked: Looked = yield Look(call.key, call.marks, self.near.position, counts, claim)
        except StoreUnavailable:
            self.counters.put_back(counts)
            raise
        if looked.position is None:  # the next command opens a new incarnation
            looked = yield Look(call.key, call.marks, claim=claim)
        self.near.advance(looked.position, looked.records, now)
        if looked.position is None:
            return Miss("log-lost", None)
        found = yield from self._judge(call, looked, looked.position, now)
        lease = looked.lease
        if isinstance(found, Miss):
            # The lease was given after the marks were read, and notes when.
            position = lease.position if lease and lease.position else found.position
            return replace(found, position=position, lease=lease)
        if lease is not None and lease.is_ours:
            yield Release(call.key, lease.owner)  # it was given up a moment too early
        return found

    def _judge(self, call: Call, looked: Looked, at: Position, now: float) -> Plan[Hit | Miss]:
        """What was found is a hit, or a miss for a reason."""
        try:
            entry = unpack(call.key, looked.frame, self.secret) if looked.frame else None
            set_marks = looked.marks
            if entry is not None and not set(entry.marks) <= set(call.marks):
                # It was stored under other tags: their marks count, too.
                again: Looked = yield Look(call.key, entry.marks)
                set_marks = again.marks
            bans = yield from self._bans(at, looked.banned)
            remaining = min(looked.remaining, entry.lifetime) if entry else 0.0
            verdict = decide(entry, remaining, set_marks, at, call.policy, bans=bans)
            if entry is None or verdict is not Verdict.FRESH:
                return Miss(verdict.value, at)
            value = self._value(entry)
        except EntryError as error:
            return Miss(error.reason, at)
        self.near.put(entry, now + remaining, at.sequence)
        return Hit(entry, value, self.far_layer, remaining)

    def _bans(self, at: Position, newest: int) -> Plan[Sequence[Ban]]:
        """All pattern bans: this process's copy of them, or read anew after a gap."""
        known = self.near.bans(at, newest)
        if known is not None:
            return known
        read: Bans = yield ReadBans()
        if read.position is None:
            raise StoreUnavailable("the log was lost between two reads")
        self.near.learn(read.bans, read.position)
        return read.bans

    def _decode(self, call: Call, held: Held, now: float) -> Hit | None:
        entry, remaining = held.entry, held.deadline - now
        mine = (call.policy.serializer, call.policy.compression)
        if (entry.serializer, entry.compression) == mine:
            with suppress(EntryError):  # L2 will tell, and count it
                return Hit(entry, self._value(entry), "l1", remaining)
        self.near.entries.drop(call.key)
        return None

    def _value(self, entry: Entry) -> Any:
        return self.codecs.decode(entry.payload, entry.serializer, entry.compression)

    def again(self, hit: Hit) -> Hit:
        """The same hit for another caller, with a value of its own (promise R2)."""
        return replace(hit, value=self._value(hit.entry))

    def _poll(self, now: float) -> Plan[None]:
        position = self.near.position
        if position is None:
            return
        counts = self.counters.take(now)
        try:
            looked: Looked = yield Poll(position, counts)
        except StoreUnavailable:
            self.counters.put_back(counts)
        else:
            self.near.advance(looked.position, looked.records, now)

    def position(self, call: Call) -> Plan[Position | None]:
        """The log's position now, to store a result with; None when there is none to be had."""
        try:
            looked: Looked = yield Look(call.key, ())
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
        owner: str = "",
        replaces: bool = False,
    ) -> Plan[bool]:
        """Store the result of a run. Never raises for a fault of the store or of the result.

        Args:
            call: The call.
            position: The log's position from before the run (``Miss.position``).
            value: The result.
            run_seconds: How long the run took.
            task_id: Id of the task that ran.
            owner: Of the lease that the run was led with. It ends with the fill; when it is
                another's by now, nothing is stored.
            replaces: Whether there may be an entry that is still valid: then other processes are
                told (one more round trip), whose memory would hold on to it.

        Returns:
            Whether it was stored, and others told if need be.
        """
        entry, reason = self._entry(call, position, value, run_seconds, task_id)
        size = 0
        if entry is not None:
            size, reason = yield from self._store(entry, owner)
        elif owner:
            with suppress(StoreUnavailable):  # it lapses
                yield Release(call.key, owner, UNSHARED_FOR)
        if replaces and not reason:
            try:
                yield Invalidate((marks.replaced(call.key),))
            except StoreUnavailable:
                reason = "unannounced"
            self.near.distrust()
        self.observe(Filled(call.task, call.key, size, reason))
        return not reason

    def _entry(
        self,
        call: Call,
        position: Position | None,
        value: Any,
        run_seconds: float,
        task_id: str | None,
    ) -> tuple[Entry | None, str]:
        """The entry of a result, or why there is none."""
        if position is None:
            return None, "unavailable"
        if run_seconds > MAX_RUN:
            return None, "too-late"
        policy = call.policy
        try:
            payload = self.codecs.encode(value, policy.serializer, policy.compression)
        except UnserializableResult:
            return None, "unserializable"
        entry = Entry(
            key=call.key,
            task=call.task,
            task_id=task_id,
            created_at=self.wall(),
            lifetime=policy.lifetime(self.draw()),
            run_seconds=run_seconds,
            born=position,
            marks=call.marks,
            serializer=policy.serializer,
            compression=policy.compression,
            payload=payload,
        )
        return entry, ""

    def _store(self, entry: Entry, owner: str) -> Plan[tuple[int, str]]:
        """Store an entry: its size, and why it wasn't stored."""
        now = self.clock()
        frame = pack(entry, self.secret)
        # Runs are rare and dear: each hands over what was counted.
        counts = self.counters.take(now, interval=0.0)
        try:
            stored: bool = yield Fill(entry.key, frame, entry.lifetime, counts, owner)
        except StoreUnavailable:
            self.counters.put_back(counts)
            if owner:
                self.abandon(entry.key, owner)
            return len(frame), "unavailable"
        if not stored:
            return len(frame), "lease-lost"
        self.near.put(entry, now + entry.lifetime, entry.born.sequence)
        return len(frame), ""

    def release(self, key: str, owner: str) -> Plan[None]:
        """End a lease, if it is still the owner's.

        Raises:
            StoreUnavailable: It isn't known whether it has ended.
        """
        yield Release(key, owner)

    def renew(self, holdings: tuple[Holding, ...], ttl: float) -> Plan[list[bool]]:
        """Renew leases; says which are still their owners'.

        Raises:
            StoreUnavailable: It isn't known.
        """
        renewed: list[bool] = yield Renew(holdings, ttl)
        return renewed

    def invalidate(self, names: tuple[str, ...], keys: tuple[str, ...] = ()) -> Plan[None]:
        """Set marks, and drop the entries of keys.

        Raises:
            StoreUnavailable: It was not acknowledged, so it may not have happened (promise I4).
        """
        position: Position = yield Invalidate(names, keys)
        self.near.distrust()
        for key in keys:
            self.near.entries.drop(key)
        self.observe(Invalidated(names, position.sequence))

    def peek(self, key: str) -> Plan[tuple[Entry, float] | None]:
        """Return what is stored under a key and valid, with the seconds that remain.

        Raises:
            StoreUnavailable: The store can't be read.
            EntryError: The bytes there aren't an entry.
        """
        looked: Looked = yield Look(key, ())
        if looked.frame is None or looked.position is None:
            return None
        entry = unpack(key, looked.frame, self.secret)
        looked = yield Look(key, entry.marks)
        if looked.position is None:
            return None
        bans = yield from self._bans(looked.position, looked.banned)
        if not marks.is_valid(entry, looked.marks, looked.position, bans):
            return None
        return entry, looked.remaining

    def scan(self, pattern: str, cursor: str = "") -> Plan[Batch]:
        """Return a batch of the valid entries whose keys match a glob (see ``Scan``).

        Raises:
            StoreUnavailable: The store can't be read.
        """
        batch: Batch = yield Scan(pattern, cursor)
        return batch

    def totals(self) -> Plan[dict[str, float]]:
        """Hand over what was counted here, and return the counters of all processes.

        Raises:
            StoreUnavailable: The store can't be reached; what was counted is kept.
        """
        counts = self.counters.take(self.clock(), interval=0.0)
        try:
            totals: dict[str, float] = yield Count(counts)
        except StoreUnavailable:
            self.counters.put_back(counts)
            raise
        return totals
