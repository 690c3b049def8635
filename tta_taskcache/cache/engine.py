"""The two levels as one cache: look, fill, invalidate.

Put together from a reader, a writer and a refresher, which share its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ..core import marks
from ..core.entry import Entry, Position, unpack
from ..core.events import Invalidated
from ..core.lease import Claim, Holding
from ..errors import StoreUnavailable
from ..stores.ledger import days_since
from ..stores.protocol import (
    Batch,
    Count,
    Look,
    ReadDays,
    Release,
    Renew,
    Scan,
    SetMarks,
    StoreReply,
)
from .lookup_record import record_lookup
from .outcome import Call, Hit, Miss
from .parts import Parts
from .plan import Plan
from .reader import Reader
from .refresher import Refresher
from .writer import Writer


@dataclass(frozen=True, slots=True)
class Engine:
    """The cache of one process. Its methods, and those of its parts, return plans.

    Attributes:
        parts: What the others work with.
        reader: Finds results.
        writer: Stores results.
        refresher: Serves what is stale, and has it refreshed.
    """

    parts: Parts
    reader: Reader
    writer: Writer
    refresher: Refresher

    def look(self, call: Call, site: str, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """Find a call's result. Never raises for a fault of the store.

        Args:
            call: The call.
            site: Where it is looked for.
            claim: Take the lease on the way, when there is no result.
        """
        started = self.parts.clock()
        found = yield from self.refresher.find_or_refresh(call, claim)
        seconds = self.parts.clock() - started
        record_lookup(self.parts.observe, call, site, found, seconds=seconds)
        return found

    def peek(self, key: str) -> Plan[tuple[Entry, float] | None]:
        """Return what is stored under a key and valid, with the seconds that remain.

        Raises:
            StoreUnavailable: The store can't be read.
            EntryError: The bytes there aren't an entry.
        """
        looked: StoreReply = yield Look(key, ())
        if looked.frame is None or looked.position is None:
            return None
        entry = unpack(key, looked.frame, self.parts.secret)
        looked = yield Look(key, entry.marks)
        if looked.position is None:
            return None
        bans = yield from self.reader.bans(looked.position, looked.banned)
        if not marks.is_valid(entry, looked.marks, looked.position, bans):
            return None
        return entry, looked.remaining

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
        position: Position = yield SetMarks(names, keys)
        self.parts.l1.require_poll()
        for key in keys:
            self.parts.l1.entries.drop(key)
        self.parts.observe(Invalidated(names, position.sequence))

    def scan(self, pattern: str, cursor: str = "") -> Plan[Batch]:
        """Return a batch of the valid entries whose keys match a glob (see ``Scan``).

        Raises:
            StoreUnavailable: The store can't be read.
        """
        batch: Batch = yield Scan(pattern, cursor, secret=self.parts.secret)
        return batch

    def days(self, first: date) -> Plan[dict[str, dict[str, float]]]:
        """The counters of all processes for each day from this one on (UTC), as far as kept.

        Raises:
            StoreUnavailable: The store can't be reached.
        """
        yield from self.totals()  # what was counted here is to be in it
        days = days_since(first, self.parts.wall())
        counted: list[dict[str, float]] = yield ReadDays(days)
        return {day: counts for day, counts in zip(days, counted, strict=True) if counts}

    def totals(self) -> Plan[dict[str, float]]:
        """Hand over what was counted here, and return the counters of all processes.

        Raises:
            StoreUnavailable: The store can't be reached; what was counted is kept.
        """
        counts = self.parts.counters.take(self.parts.clock(), interval=0.0)
        try:
            totals: dict[str, float] = yield Count(counts)
        except StoreUnavailable:
            self.parts.counters.put_back(counts)
            raise
        return totals


def make_engine(parts: Parts) -> Engine:
    """Put an engine together."""
    reader, writer = Reader(parts), Writer(parts)
    return Engine(parts, reader, writer, Refresher(parts, reader, writer))
