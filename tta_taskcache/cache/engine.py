"""The two levels as one cache.

A read takes L1 when its last poll of the log is recent enough, polls when only that is missing, and
otherwise looks into L2, whose answer brings the newest log records along. A fill carries the log's
position from before the computation; whether an invalidation came in between is checked by
every reader, so a late fill is harmless.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

from ..core import marks
from ..core.codec import Codecs
from ..core.decide import Verdict, decide
from ..core.entry import Entry, Position, pack, unpack
from ..core.events import Filled, Invalidated, Lookup, Observe
from ..errors import EntryError, StoreUnavailable, UnserializableResult
from ..observability.counters import Counters
from ..stores.near import Held, Near
from ..stores.protocol import Batch, Count, Fill, Invalidate, Look, Looked, Poll, Scan
from .outcome import Call, Hit, Miss
from .plan import Plan

#: A run longer than this is not stored: the log doesn't remember invalidations for longer (s).
MAX_RUN = 23 * 3600.0


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
    clock: Callable[[], float] = monotonic
    wall: Callable[[], float] = time
    draw: Callable[[], float] = field(default=random.random)

    def look(self, call: Call, site: str) -> Plan[Hit | Miss]:
        """Find a call's result. Never raises for a fault of the store."""
        found = yield from self.find(call)
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
        return found

    def find(self, call: Call) -> Plan[Hit | Miss]:
        """``look`` without telling the observers."""
        now = self.clock()
        held = self.near.find(call.key, now)
        if held is not None and not self.near.is_trusted(now):
            yield from self._poll(now)
            held = self.near.find(call.key, now) if self.near.is_trusted(now) else None
        hit = self._decode(call, held, now) if held is not None else None
        return hit if hit is not None else (yield from self._find_far(call))

    def _find_far(self, call: Call) -> Plan[Hit | Miss]:
        now = self.clock()
        counts = self.counters.take(now)
        try:
            looked: Looked = yield Look(call.key, call.marks, self.near.position, counts)
            if looked.position is None:  # the next command opens a new incarnation
                looked = yield Look(call.key, call.marks)
        except StoreUnavailable:
            self.counters.put_back(counts)
            return Miss("unavailable", None)
        self.near.advance(looked.position, looked.records, now)
        if looked.position is None:
            return Miss("log-lost", None)
        try:
            entry = unpack(call.key, looked.frame, self.secret) if looked.frame else None
            remaining = min(looked.remaining, entry.lifetime) if entry else 0.0
            verdict = decide(entry, remaining, looked.marks, looked.position, call.policy)
            if entry is None or verdict is not Verdict.FRESH:
                return Miss(verdict.value, looked.position)
            value = self._value(entry)
        except EntryError as error:
            return Miss(error.reason, looked.position)
        self.near.put(entry, now + remaining, looked.position.sequence)
        return Hit(entry, value, self.far_layer, remaining)

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
        replaces: bool = False,
    ) -> Plan[bool]:
        """Store the result of a run. Never raises for a fault of the store or of the result.

        Args:
            call: The call.
            position: The log's position from before the run (``Miss.position``).
            value: The result.
            run_seconds: How long the run took.
            task_id: Id of the task that ran.
            replaces: Whether there may be an entry that is still valid: then other processes are
                told (one more round trip), whose memory would hold on to it.

        Returns:
            Whether it was stored, and others told if need be.
        """
        reason, size = yield from self._fill(call, position, value, run_seconds, task_id)
        if replaces and not reason:
            try:
                yield Invalidate((marks.replaced(call.key),))
            except StoreUnavailable:
                reason = "unannounced"
            self.near.distrust()
        self.observe(Filled(call.task, call.key, size, reason))
        return not reason

    def _fill(
        self,
        call: Call,
        position: Position | None,
        value: Any,
        run_seconds: float,
        task_id: str | None,
    ) -> Plan[tuple[str, int]]:
        if position is None:
            return "unavailable", 0
        if run_seconds > MAX_RUN:
            return "too-late", 0
        policy = call.policy
        try:
            payload = self.codecs.encode(value, policy.serializer, policy.compression)
        except UnserializableResult:
            return "unserializable", 0
        now = self.clock()
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
        frame = pack(entry, self.secret)
        # Runs are rare and dear: each hands over what was counted.
        counts = self.counters.take(now, interval=0.0)
        try:
            yield Fill(call.key, frame, entry.lifetime, counts)
        except StoreUnavailable:
            self.counters.put_back(counts)
            return "unavailable", len(frame)
        self.near.put(entry, now + entry.lifetime, position.sequence)
        return "", len(frame)

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
        if looked.position is None or not marks.is_valid(entry, looked.marks, looked.position):
            return None
        return entry, looked.remaining

    def scan(self, pattern: str, cursor: int = 0) -> Plan[Batch]:
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
