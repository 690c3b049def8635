"""The two levels as one cache: look, fill, invalidate.

A fill carries the log's position from before the computation; whether an invalidation came in
between is checked by every reader, so a late fill is harmless.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any

from ..core import marks
from ..core.entry import Entry, Position, pack
from ..core.events import Filled, Invalidated, Lookup, Observe
from ..core.lease import Claim, Holding
from ..errors import StoreUnavailable, UnserializableResult
from ..stores.protocol import (
    Batch,
    Count,
    Fill,
    Invalidate,
    Look,
    Looked,
    Release,
    Renew,
    Scan,
)
from .outcome import Call, Hit, Miss
from .plan import Plan
from .reading import Reader

#: A run longer than this is not stored: the log doesn't remember invalidations for longer (s).
MAX_RUN = 23 * 3600.0

#: Seconds for which equal calls don't wait for one another after a result that can't be stored.
UNSHARED_FOR = 5.0


@dataclass(slots=True, kw_only=True)
class Engine(Reader):
    """The cache of one process. Its methods return plans.

    Attributes:
        observe: Told what happens.
        wall: Unix seconds, for display.
        draw: Jitter: a number from [0, 1).
    """

    observe: Observe
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

    def position(self, call: Call) -> Plan[Position | None]:
        """The log's position now, to store a result with; None when there is none to be had."""
        try:
            looked: Looked = yield Look(call.key, ())
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
        owner: str = "",
        replaces: bool = False,
        refused: str = "",
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
            refused: Why it isn't to be stored, if so: only the lease ends.

        Returns:
            Whether it was stored, and others told if need be.
        """
        entry, reason = (
            (None, refused) if refused else self._entry(call, position, value, run_seconds, task_id)
        )
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
