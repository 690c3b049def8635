"""Real streams: L1's hit ratio beside other policies, and what is saved end to end.

``TASKCACHE_TRACES`` names the folder with the traces; what isn't there is skipped, and said.
"""

import gzip
import json
import lzma
import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from benchmarks.comparison.calls import MODULE, PATIENCE
from benchmarks.comparison.turns import Row
from tests.support.servers import Server
from tests.support.workers import Worker
from tta_taskcache.stores.memory.bounded_map import BoundedMap

SHARES = (0.01, 0.05, 0.10)

#: Requests of a stream that are made end to end, seconds of their run, and seconds in which the
#: arrivals of those with arrival times are made.
REQUESTS, RUN_SECONDS, ARRIVE_WITHIN = 1_000, 0.02, 30.0


@dataclass(slots=True)
class _Sized:
    hits: int = 0
    size: int = 1


class _Ours:
    def __init__(self, room: int) -> None:
        self.map: BoundedMap[_Sized] = BoundedMap(room, room)

    def request(self, key: str) -> bool:
        if self.map.get(key) is not None:
            return True
        self.map.put(key, _Sized())
        return False


class _Lru:
    def __init__(self, room: int) -> None:
        self.room, self.held = room, OrderedDict[str, None]()

    def request(self, key: str) -> bool:
        if key in self.held:
            self.held.move_to_end(key)
            return True
        self.held[key] = None
        if len(self.held) > self.room:
            self.held.popitem(last=False)
        return False


class _Peer:
    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def request(self, key: str) -> bool:
        if self.cache.get(key) is not None:
            return True
        self.cache.set(key, 1)
        return False


class _Theine(_Peer):
    def request(self, key: str) -> bool:
        _, is_there = self.cache.get(key)
        if not is_there:
            self.cache.set(key, 1)
        return bool(is_there)


def _policies(missing: list[str]) -> dict[str, Callable[[int], Any]]:
    policies: dict[str, Callable[[int], Any]] = {"ours (S3-FIFO)": _Ours, "LRU": _Lru}
    try:
        from theine import Cache  # noqa: PLC0415 - an optional peer

        policies["theine (W-TinyLFU)"] = lambda room: _Theine(Cache(room))
    except ImportError:
        missing.append("theine isn't installed")
    try:
        from moka_py import Moka  # noqa: PLC0415 - an optional peer

        policies["moka-py (W-TinyLFU)"] = lambda room: _Peer(Moka(room))
    except ImportError:
        missing.append("moka-py isn't installed")
    return policies | {"unbounded": lambda _: _Lru(10**9)}


def read(path: Path) -> Iterator[tuple[float, str]]:
    """The requests of a trace: when each arrives (seconds; 0 where it isn't known), and its key."""
    openers: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
    data = openers[path.suffix](path).read()
    if path.name.startswith("web07"):
        yield from ((0.0, str(key)) for (key,) in struct.iter_unpack("<i", data))
    elif ".jsonl" in path.name:
        for line in data.splitlines():
            request = json.loads(line)
            yield request["timestamp"] / 1000, str(request["hash_ids"])
    else:
        yield from ((0.0, key) for key in data.decode().split())


def run(server: Server, app: Celery, rounds: int) -> tuple[list[Row], list[str]]:  # noqa: ARG001
    """Measure those streams that are there."""
    missing: list[str] = []
    folder = os.environ.get("TASKCACHE_TRACES")
    if folder is None:
        return [], ["streams: TASKCACHE_TRACES names no folder with the traces"]
    names = ("web07.trace.xz", "loop.trace.gz", "multi1.trace.gz", "mooncake_conversation.jsonl.xz")
    there = [path for name in names if (path := Path(folder) / name).exists()]
    missing += [
        f"{name} isn't in TASKCACHE_TRACES" for name in names if not (Path(folder) / name).exists()
    ]
    rows = []
    for path in there:
        stream = list(read(path))
        if ".jsonl" not in path.name:
            rows += _hit_ratios(path.name, [key for _, key in stream], missing)
        if path.name.startswith(("web07", "mooncake")):
            rows += _end_to_end(server, app, path.name, stream[:REQUESTS])
    return rows, missing


def _hit_ratios(name: str, keys: list[str], missing: list[str]) -> list[Row]:
    distinct = len(set(keys))
    rows = []
    for title, make in _policies([] if missing else missing).items():
        row = Row("hit ratio (%)", f"{name.split('.', 1)[0]}, {title}")
        for share in SHARES:
            policy = make(max(1, int(distinct * share)))
            hits = sum(policy.request(key) for key in keys)
            row.extra[f"at_{share:.0%}"] = 100 * hits / len(keys)
        rows.append(row)
    return rows


def _end_to_end(
    server: Server, app: Celery, name: str, stream: list[tuple[float, str]]
) -> list[Row]:
    """Make the requests of a stream, plain and cached by turns, on a worker of two processes."""
    begin, end = stream[0][0], stream[-1][0]
    scale = ARRIVE_WITHIN / (end - begin) if end > begin else 0.0
    rows = []
    with Worker(MODULE, env=server.environment):
        for kind in ("plain", "cached"):
            task = app.tasks[f"{kind}.sleep"]
            started, results = time.perf_counter(), []
            for at, key in stream:
                time.sleep(max(0.0, started + (at - begin) * scale - time.perf_counter()))
                results.append(task.delay(f"{name}:{key}", RUN_SECONDS))
            for result in results:
                result.get(timeout=PATIENCE)
            row = Row("stream end to end", f"{name.split('.', 1)[0]}, {kind}")
            row.wall.append(time.perf_counter() - started)
            row.extra |= {"requests": len(stream), "distinct": len({key for _, key in stream})}
            rows.append(row)
    rows[1].base = rows[0].name
    rows[1].ratios.append(rows[1].wall[0] / rows[0].wall[0])
    return rows
