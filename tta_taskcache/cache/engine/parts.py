"""The parts that the components of an engine share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random
from time import monotonic, time

from ...core.events import Observe
from ...core.results.codec import Codecs
from ...observability.counters import Counters
from ...stores.memory.l1_cache import L1Cache

#: Seconds for which a stale result stands in for a run that fails, before another is tried.
TRY_AGAIN = 5.0

#: Of a fresh hit: its task, site and layer; seconds that the lookup took, run time and cost of the
#: entry. Returns whether it was counted; else an event has to be sent.
CountHit = Callable[[tuple[str, str, str], float, float, float], bool]


def _counts_none(*_: object) -> bool:
    return False


@dataclass(slots=True, kw_only=True)
class Parts:
    """The parts that reader, writer and refresher share.

    Attributes:
        l1: The memory of this process.
        log: Identity of the invalidation log, which ends the entries: where it is.
        codecs: Serializers and compressors.
        counters: This process' counts, which ride to the shared totals on other commands.
        observe: Receives events.
        secret: Key of the entries' signatures; empty for a plain checksum.
        store_layer: Name of the layer behind L1.
        abandon: Receives key and owner of a lease that may be held, as its reply was lost.
        in_background: Whether another process can refresh what this one reads.
        try_again: Seconds for which a stale result stands in for a run that fails.
        clock: Returns monotonic seconds.
        wall: Returns Unix seconds, for display.
        draw: Returns a random number from [0, 1).
        trace: Returns the traceparent of the span in force; empty without one.
        count_hit: Counts a hit without an event, where nobody wants to see one.
    """

    l1: L1Cache
    log: object = field(default_factory=object)
    codecs: Codecs
    counters: Counters
    observe: Observe
    secret: bytes = field(default=b"", repr=False)
    store_layer: str = "l2"
    abandon: Callable[[str, str], None] = lambda _key, _owner: None
    in_background: bool = True
    try_again: float = TRY_AGAIN
    clock: Callable[[], float] = monotonic
    wall: Callable[[], float] = time
    draw: Callable[[], float] = random
    trace: Callable[[], str] = str
    count_hit: CountHit = _counts_none
