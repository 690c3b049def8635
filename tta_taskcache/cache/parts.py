"""What the parts of the engine share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random
from time import monotonic, time

from ..core.codec import Codecs
from ..core.events import Observe
from ..observability.counters import Counters
from ..stores.l1_cache import L1Cache


@dataclass(slots=True, kw_only=True)
class Parts:
    """What reader, writer and refresher work with.

    Attributes:
        l1: The memory of this process.
        codecs: Serializers and compressors.
        counters: What to add to the shared totals on the way.
        observe: Told what happens.
        secret: Key of the entries' signatures; empty for a plain checksum.
        store_layer: Name of the layer behind L1.
        abandon: Told the key and the owner of a lease that may be held without anybody's knowing:
            the reply was lost.
        in_background: Whether somebody else can refresh what this process reads.
        clock: Monotonic seconds.
        wall: Unix seconds, for display.
        draw: Chance: a number from [0, 1).
    """

    l1: L1Cache
    codecs: Codecs
    counters: Counters
    observe: Observe
    secret: bytes = field(default=b"", repr=False)
    store_layer: str = "l2"
    abandon: Callable[[str, str], None] = lambda _key, _owner: None
    in_background: bool = True
    clock: Callable[[], float] = monotonic
    wall: Callable[[], float] = time
    draw: Callable[[], float] = random
