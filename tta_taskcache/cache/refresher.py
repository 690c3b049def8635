"""Stale results: who has them refreshed, and when they stand in for a run that fails (RFC 5861)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..core.decide import Verdict
from ..core.entry import HEADER_BYTES, pack
from ..core.lease import Claim
from ..errors import StoreUnavailable
from ..stores.bounded_map import RecentKeys
from ..stores.protocol import BeginRefresh, Fill, Look, StoreReply
from .lookup_record import record_lookup
from .outcome import Call, Hit, Miss
from .parts import Parts
from .plan import Plan
from .reader import Reader
from .writer import Writer

#: Seconds for which nobody else refreshes a key; at least two run times.
REFRESH_PAUSE = 5.0

#: Seconds between two questions of this process whether a key needs a refresh, and how many keys
#: it remembers asking for.
ASK_AGAIN = 1.0
MAX_REMEMBERED = 10_000

#: Seconds for which a stale result stands in for a run that fails, before another is tried.
TRY_AGAIN = 5.0


@dataclass(frozen=True, slots=True)
class Refresher:
    """Serves what is stale, and sees to it that it doesn't stay so. Its methods return plans.

    Attributes:
        parts: What it works with.
        reader: Finds results.
        writer: Tells the log's position.
        recently_asked: The keys that this process has just asked to refresh.
    """

    parts: Parts
    reader: Reader
    writer: Writer
    recently_asked: RecentKeys = field(default_factory=lambda: RecentKeys(MAX_REMEMBERED))

    def find_or_refresh(self, call: Call, claim: Claim | None = None) -> Plan[Hit | Miss]:
        """``find``, and see to it that somebody refreshes what is stale, or is soon."""
        found = yield from self.reader.find(call, claim)
        if isinstance(found, Hit):
            return (yield from self.claim_refresh(call, found))
        return found

    def claim_refresh(self, call: Call, hit: Hit) -> Plan[Hit | Miss]:
        """See to it that what a hit was found to need is done, once.

        Returns:
            The hit, with ``refresh`` when it is on the caller; or a miss, when nobody else can.
        """
        if not hit.verdict.asks_for_refresh:
            return hit
        if not self.recently_asked.take(call.key, self.parts.clock(), ASK_AGAIN):
            return hit
        pause = max(REFRESH_PAUSE, 2 * hit.entry.run_seconds)
        try:
            granted: bool = yield BeginRefresh(call.key, pause)
        except StoreUnavailable:
            return hit
        if granted and not self.parts.in_background:
            return Miss(hit.verdict.value, (yield from self.writer.position(call)))
        return replace(hit, refresh=granted)

    def find_stale_if_error(self, call: Call, site: str, owner: str) -> Plan[Hit | None]:
        """The last good result, when a run has failed for good (``stale-if-error``).

        It is served without another try for a while, so that what fails isn't hammered.

        Args:
            call: The call.
            site: Where it ran.
            owner: Of the lease that it was led with; empty if none.
        """
        now = self.parts.clock()
        try:
            looked: StoreReply = yield Look(call.key, call.marks)
            if looked.position is None:
                return None
            found = yield from self.reader.judge(call, looked, looked.position, now, failed=True)
            if isinstance(found, Miss):
                return None
            if looked.frame and found.verdict is Verdict.STALE_IF_ERROR:
                above = max(0, int((found.remaining - TRY_AGAIN) * 1000))
                entry = replace(found.entry, served_above_ms=above)
                frame, header = pack(entry, self.parts.secret), looked.frame[:HEADER_BYTES]
                held: bool = yield Fill(
                    call.key, frame, found.remaining, owner=owner, instead_of=header
                )
                if held:  # else there is a newer one by now
                    self.parts.l1.put(
                        entry, now + found.remaining, looked.position.sequence, call.marks
                    )
                else:
                    self.parts.l1.entries.drop(call.key)
        except StoreUnavailable:
            return None
        # The run was made, and has failed: nothing was saved.
        record_lookup(self.parts.observe, call, site, found, saved=False)
        return found
