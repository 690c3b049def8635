"""The engine: both levels (L1 and L2) as one cache.

It is composed of a reader, a writer and a refresher, which share its parts.
"""

from __future__ import annotations

from datetime import date

from ...core.entries import marks
from ...core.entries.entry import Entry, Position, unpack
from ...core.entries.lease import Claim, Holding
from ...core.events import Invalidated
from ...core.record import record
from ...errors import StoreUnavailable
from ...stores.exchanges.ledger import days_since
from ...stores.protocol import (
    Batch,
    Count,
    Look,
    Poll,
    ReadDays,
    Release,
    Renew,
    Scan,
    SetMarks,
    StoreReply,
)
from ..outcome import Call, Hit, Miss
from ..plan import Plan
from .judgement import Judgement
from .lookup_record import record_found
from .parts import Parts
from .reader import Reader
from .refresher import Refresher
from .writer import Writer


@record
class Engine:
    """The cache of one process. Its methods, and those of its components, return plans.

    Attributes:
        parts: The parts that the components share.
        reader: Finds results.
        writer: Stores results.
        refresher: Serves stale results, and has them refreshed.
    """

    parts: Parts
    reader: Reader
    writer: Writer
    refresher: Refresher

    def look(self, call: Call, site: str, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """Find a call's result. Never raises for a fault of the store.

        Args:
            call: The call.
            site: The site that looks.
            claim: The claim to the lease, taken on the way when there is no result.
        """
        hit = self.look_in_l1(call, site)
        if hit is not None:
            return hit
        started = self.parts.clock()
        found = yield from self.refresher.find_or_refresh(call, claim)
        record_found(self.parts, call, site, found, self.parts.clock() - started)
        return found

    def look_in_l1(self, call: Call, site: str) -> Hit | None:
        """Find a call's result in L1, without a plan; None where ``look`` has to find out.

        Args:
            call: The call.
            site: The site that looks.
        """
        parts = self.parts
        started = parts.clock()
        hit = self.reader.find_in_l1(call, started)
        if hit is None or hit.verdict.asks_for_refresh:
            return None
        record_found(parts, call, site, hit, parts.clock() - started)
        return hit

    def peek(self, key: str) -> Plan[tuple[Entry, float] | None]:
        """Return the valid entry of a key, with the seconds that remain; None without one.

        Raises:
            StoreUnavailable: The store can't be read.
            EntryError: The stored bytes aren't an entry.
        """
        looked: StoreReply = yield Look(key, ())
        if looked.frame is None or looked.position is None:
            return None
        entry = unpack(key, looked.frame, self.parts.secret)
        log: StoreReply = yield Poll(marks=entry.marks)
        if log.position is None:
            return None
        bans = yield from self.reader.judgement.bans(log.position, log.banned)
        if not marks.is_valid(entry, log.marks, log.position, bans):
            return None
        return entry, looked.remaining

    def release(self, key: str, owner: str, unshared: float = 0.0) -> Plan[None]:
        """End a lease, if it is still the owner's; or let equal calls not wait for that long.

        Raises:
            StoreUnavailable: The store can't be reached: the lease may have ended.
        """
        yield Release(key, owner, unshared)

    def renew(self, holdings: tuple[Holding, ...], ttl: float) -> Plan[list[bool]]:
        """Renew leases; return for each whether it is still its owner's.

        Raises:
            StoreUnavailable: The store can't be reached: leases may have been renewed.
        """
        renewed: list[bool] = yield Renew(holdings, ttl)
        return renewed

    def invalidate(self, names: tuple[str, ...], keys: tuple[str, ...] = ()) -> Plan[None]:
        """Set marks, and drop the entries of keys.

        Raises:
            StoreUnavailable: The store hasn't acknowledged it: it may not have happened (I4).
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
        """Return the counters of all processes for each day from this one on (UTC), as far as kept.

        Raises:
            StoreUnavailable: The store can't be reached.
        """
        yield from self.totals()  # hands over this process' counts
        days = days_since(first, self.parts.wall())
        counted: list[dict[str, float]] = yield ReadDays(days)
        return {day: counts for day, counts in zip(days, counted, strict=True) if counts}

    def totals(self) -> Plan[dict[str, float]]:
        """Hand over this process' counts, and return the counters of all processes.

        Raises:
            StoreUnavailable: The store can't be reached; the counts are kept.
        """
        counts = self.parts.counters.take(self.parts.clock(), interval=0.0)
        try:
            totals: dict[str, float] = yield Count(counts)
        except StoreUnavailable:
            self.parts.counters.put_back(counts)
            raise
        return totals


def make_engine(parts: Parts) -> Engine:
    """Compose an engine of its parts."""
    reader, writer = Reader(parts, Judgement(parts)), Writer(parts)
    return Engine(parts, reader, writer, Refresher(parts, reader, writer))
