"""The refresher: stale results, served while one run refreshes them or stands failed (RFC 5861)."""

from __future__ import annotations

from dataclasses import field, replace

from ...core.entries.decide import Verdict
from ...core.entries.entry import HEADER_BYTES, pack
from ...core.entries.lease import Claim
from ...core.record import record
from ...errors import StoreUnavailable
from ...stores.memory.bounded_map import RecentKeys
from ...stores.protocol import BeginRefresh, Fill, Look, StoreReply
from ..outcome import Call, Hit, Miss
from ..plan import Plan
from .lookup_record import record_lookup
from .parts import Parts
from .reader import Reader
from .writer import Writer

#: Least seconds for which a key has one refresh only; at least two run times.
REFRESH_PAUSE = 5.0

#: Seconds between two requests of this process to refresh a key, and keys that it remembers.
ASK_AGAIN = 1.0
MAX_REMEMBERED = 10_000


@record
class Refresher:
    """Serves stale results, and has them refreshed. Its methods return plans.

    Attributes:
        parts: The engine's parts.
        reader: Finds results.
        writer: Reads the log's position.
        recently_asked: The keys that this process has just asked to refresh.
    """

    parts: Parts
    reader: Reader
    writer: Writer
    recently_asked: RecentKeys = field(default_factory=lambda: RecentKeys(MAX_REMEMBERED))

    def find_or_refresh(self, call: Call, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """Find a call's result as ``Reader.find`` does, and claim its refresh if it needs one."""
        found = yield from self.reader.find(call, claim)
        if isinstance(found, Hit):
            return (yield from self.claim_refresh(call, found))
        return found

    def claim_refresh(self, call: Call, hit: Hit, run_seconds: float = 0.0) -> Plan[Hit | Miss]:
        """Claim the refresh of a hit that is stale, or due early: one caller gets it.

        Args:
            call: The call.
            hit: The hit.
            run_seconds: Seconds that the refresh will take, if it isn't of this hit alone.

        Returns:
            The hit, with ``refresh`` for that caller; or a miss, when only the caller can run.
        """
        if not hit.verdict.asks_for_refresh:
            return hit
        if not self.recently_asked.take(call.key, self.parts.clock(), ASK_AGAIN):
            return hit
        pause = max(REFRESH_PAUSE, 2 * max(run_seconds, hit.entry.run_seconds))
        try:
            granted: bool = yield BeginRefresh(call.key, pause)
        except StoreUnavailable:
            return hit
        if granted and not self.parts.in_background:
            return Miss(hit.verdict.value, (yield from self.writer.position(call)))
        return replace(hit, refresh=granted)

    def find_stale_if_error(self, call: Call, site: str, owner: str) -> Plan[Hit | None]:
        """Find the last good result for a run that has failed for good (RFC 5861, stale-if-error).

        It is served without another run for ``parts.try_again`` seconds, to spare the source.

        Args:
            call: The call.
            site: The site that ran it.
            owner: Owner of the lease that it led with; empty if none.
        """
        found = yield from self.stand_in(call, owner)
        if found is not None:
            self.record_stand_in(call, site, found)
        return found

    def record_stand_in(self, call: Call, site: str, hit: Hit) -> None:
        """Tell observers of a hit that stands in for a failed run: it has saved none."""
        record_lookup(self.parts.observe, call, site, hit, saved=False)

    def stand_in(self, call: Call, owner: str) -> Plan[Hit | None]:
        """Find the result that ``find_stale_if_error`` serves, and record no lookup."""
        now = self.parts.clock()
        try:
            looked: StoreReply = yield Look(call.key, call.marks)
            if looked.position is None:
                return None
            found = yield from self.reader.judgement.judge(call, looked, now, failed=True)
            if isinstance(found, Miss):
                return None
            if looked.frame and found.verdict is Verdict.STALE_IF_ERROR:
                above = max(0, int((found.remaining - self.parts.try_again) * 1000))
                entry = replace(found.entry, served_above_ms=above)
                frame, header = pack(entry, self.parts.secret), looked.frame[:HEADER_BYTES]
                held: bool = yield Fill(
                    call.key, frame, found.remaining, owner=owner, instead_of=header
                )
                if held and not found.is_stale_early:  # else there is a newer entry by now
                    self.parts.l1.put(
                        entry, now + found.remaining, looked.position.sequence, call.marks
                    )
                else:
                    self.parts.l1.entries.drop(call.key)
        except StoreUnavailable:
            return None
        return found
