"""Which of the most requested calls are found, in which memory and time.

`python -m benchmarks.hot [TRACE]`: a trace of little-endian 32-bit integers, one a request, such as
cache2k's `web07.trace.xz`; without one, requests are made up.
"""

import lzma
import random
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.show import console, table
from tests.support.servers import Server, available
from tta_taskcache.core.space_saving import SpaceSaving
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.stores.redis.warming_store import WarmingStore, capacity_for

TOP = 100
PROCESSES = 8

#: Requests of all processes between two hand-overs: 100 a second for five seconds.
BETWEEN = 500


def read(path: str | None) -> list[str]:
    """The keys that were requested."""
    if path is None:
        weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(20_000)))
        chance = random.Random(1)  # noqa: S311 - no cryptography
        return [str(key) for key in chance.choices(range(20_000), cum_weights=weights, k=76_000)]
    file = Path(path)
    data = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
    return [str(key) for (key,) in struct.iter_unpack("<i", data)]


def run(path: str | None = None) -> None:
    """Measure it."""
    stream = read(path)
    true = [key for key, _ in Counter(stream).most_common(TOP)]
    capacity = capacity_for(TOP)
    rows = [
        _in_one_process("one process", stream, true, capacity),
        _through_redis(f"{PROCESSES} processes", stream, true, BETWEEN),
        _through_redis(f"{PROCESSES} processes", stream, true, len(stream)),
    ]
    what = f"{len(stream):,} requests for {len(set(stream)):,} calls; {capacity:,} counters"
    heads = ("where", "handed over every", f"of the top {TOP}", "memory", "a request")
    table(what, heads, rows)
    console.print("memory: of a process, or of Redis\n")


def _in_one_process(
    name: str, stream: Sequence[str], true: Sequence[str], capacity: int
) -> tuple[str, ...]:
    tracemalloc.start()
    counts = SpaceSaving(capacity)
    for key in stream:
        counts.add(key)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counts = SpaceSaving(capacity)
    started = time.perf_counter()
    for key in stream:
        counts.add(key)
    taken = (time.perf_counter() - started) / len(stream)
    found = {hot.key for hot in counts.top(TOP)}
    return name, "-", str(len(found & set(true))), f"{memory / 1e3:.0f} kB", f"{taken * 1e6:.2f} µs"


def _through_redis(
    name: str, stream: Sequence[str], true: Sequence[str], between: int
) -> tuple[str, ...]:
    """Each process counts its share, and hands it over now and then."""
    with Server(available()[0]) as server:
        aside = WarmingStore(RedisStore(Link(server.url(), 2.0), "b"), "b")
        capacity = capacity_for(TOP)
        started = time.perf_counter()
        for start in range(0, len(stream), between):
            part = stream[start : start + between]
            for process in range(PROCESSES):
                counts = SpaceSaving(capacity)
                for key in part[process::PROCESSES]:
                    counts.add(key)
                top = counts.top(capacity)
                aside.count_hot("t", [(h.key, h.count - h.error, h.key) for h in top], capacity)
        taken = (time.perf_counter() - started) / len(stream)
        found = set(aside.hottest("t", TOP))
        client: Any = server.client()
        memory = sum(client.memory_usage(key, samples=0) for key in client.scan_iter("b:h*"))
    return (
        name,
        f"{between:,} requests",
        str(len(found & set(true))),
        f"{memory / 1e3:.0f} kB",
        f"{taken * 1e6:.2f} µs",
    )


if __name__ == "__main__":
    run(*sys.argv[1:2])
