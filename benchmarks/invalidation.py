"""I3: an invalidation costs the same for a thousand or a million, and a sweep hurts nobody."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median

import redis
from celery import Celery

from benchmarks.show import console, ms, percentile, table
from tests.support.servers import Server, available
from tta_taskcache import TaskCache
from tta_taskcache.cache.engine import sweeping
from tta_taskcache.cache.outcome import Call
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import pack
from tta_taskcache.core.options.policy import Policy
from tta_taskcache.stores.sweep_commands import SweepProgress
from tta_taskcache.testing import make_entry

SMALL, LARGE = 1_000, 1_000_000
ROUNDS = 300
PROBE = Call("bench", "bench:probe:0", Policy(ttl=60.0))
SPAWN = multiprocessing.get_context("spawn")
BATCH = 2_000


def run() -> None:
    """Measure it on one server."""
    with Server(available()[0]) as server:
        app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
        cache = TaskCache(app, server.url(2), namespace="bench", timeout=10.0)
        client = server.client(2)
        times = {count: _by_tag(cache, client, count) for count in (SMALL, LARGE)}
        _show(times)
        _by_pattern(cache, client, server.url(2))


def _fill(cache: TaskCache, client: redis.Redis, count: int, tag: str) -> None:
    """Store entries of one tag, as fast as Redis takes them."""
    here = cache.runtime.run(cache.runtime.engine.writer.position(PROBE))
    assert here is not None
    for start in range(0, count, BATCH):
        pipe = client.pipeline(transaction=False)
        for number in range(start, min(start + BATCH, count)):
            key = f"bench:{tag}:{number:032x}"
            names = (*marks.of_call("bench", key, (tag,)),)
            frame = pack(make_entry(key, here, b"x" * 100, task="bench", marks=names))
            pipe.set(f"bench:e:{{{key}}}", frame, px=3_600_000)
        pipe.execute()


def _by_tag(cache: TaskCache, client: redis.Redis, count: int) -> list[float]:
    tag = f"of-{count}"
    _fill(cache, client, count, tag)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        cache.invalidate(tags=[tag])
        times.append(time.perf_counter() - started)
    assert cache.keys(f"bench:{tag}:*") == [], "all of them have ended"
    return times


def _show(times: dict[int, list[float]]) -> None:
    rows = [
        (f"{count:,} entries", ms(median(taken)), ms(percentile(taken, 0.99)))
        for count, taken in times.items()
    ]
    table("invalidate(tags=[…])", ("under one tag", "median", "p99"), rows)
    ratio = median(times[LARGE]) / median(times[SMALL])
    console.print(f"a million to a thousand: {ratio:.2f} times\n")


def _by_pattern(cache: TaskCache, client: redis.Redis, url: str) -> None:
    client.flushdb()
    _fill(cache, client, LARGE, "swept")
    _fill(cache, client, SMALL, "kept")
    full = _memory(client)
    with _probing(url) as quiet:
        time.sleep(5)
    started = time.perf_counter()
    cache.invalidate(pattern="bench:swept:*")
    ended = time.perf_counter() - started
    assert cache.runtime.run(cache.runtime.engine.peek(f"bench:swept:{7:032x}")) is None
    with _probing(url) as busy:
        swept, seconds = _sweep(cache)
    rows = [
        ("alone", f"{len(quiet):,}", ms(median(quiet)), ms(percentile(quiet, 0.99))),
        ("while sweeping", f"{len(busy):,}", ms(median(busy)), ms(percentile(busy, 0.99))),
    ]
    table("GET by another client", ("", "commands", "median", "p99"), rows)
    left = client.dbsize()
    console.print(
        f"invalidate(pattern=…) of {LARGE:,} entries took {ms(ended)}; the sweep dropped "
        f"{swept.dropped:,} in {seconds:.0f} s, {left:,} keys are left, memory went from "
        f"{full / 1e6:.0f} to {_memory(client) / 1e6:.0f} MB\n"
    )


def _sweep(cache: TaskCache) -> tuple[SweepProgress, float]:
    started, now = time.perf_counter(), SweepProgress()
    while not now.is_over:
        now = cache.runtime.run(sweeping.batch(cache.runtime.engine, now))
    return now, time.perf_counter() - started


def _memory(client: redis.Redis) -> float:
    return float(client.info("memory")["used_memory"])


@contextmanager
def _probing(url: str) -> Iterator[list[float]]:
    """Time a command again and again, in a process of its own."""
    times: list[float] = []
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_probe, args=(url, there), daemon=True)
    process.start()
    here.recv()  # it has begun
    try:
        yield times
    finally:
        here.send("enough")
        times += here.recv()
        process.join()


def _probe(url: str, pipe: Connection) -> None:
    client = redis.Redis.from_url(url)
    times: list[float] = []
    client.ping()
    pipe.send("begun")
    while not pipe.poll(0.002):
        started = time.perf_counter()
        client.get("probe")
        times.append(time.perf_counter() - started)
    pipe.send(times)
