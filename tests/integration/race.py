"""Processes that read, compute and invalidate at once, and what they saw.

A task returns the current version of something; a writer raises the version, invalidates, and notes
when that was acknowledged. A read is stale when it began more than Δ after an invalidation was
acknowledged and still got an older version.
"""

import bisect
import multiprocessing
import random
import time
from dataclasses import dataclass
from typing import Any

import redis
from celery import Celery

from tests.support.servers import Server
from tta_taskcache import CachedTask, TaskCache

SPAWN = multiprocessing.get_context("spawn")
THINGS = 3


@dataclass(frozen=True)
class Race:
    """How to run it.

    Attributes:
        url: The server.
        staleness: Δ of the processes (s).
        seconds: How long.
        readers: How many processes read and compute.
    """

    url: str
    staleness: float
    seconds: float = 2.0
    readers: int = 3


@dataclass(frozen=True)
class History:
    """Reads as (thing, begin, version), and invalidations as (thing, acknowledged, version)."""

    reads: list[tuple[int, float, int]]
    invalidations: list[tuple[int, float, int]]

    def stale(self, staleness: float) -> int:
        """How many reads promise I1 forbids."""
        return sum(self._is_stale(read, staleness) for read in self.reads)

    def _is_stale(self, read: tuple[int, float, int], staleness: float) -> bool:
        thing, begin, version = read
        known = [(at, newer) for what, at, newer in self.invalidations if what == thing]
        before = bisect.bisect_right(known, (begin - staleness, 0)) - 1
        return before >= 0 and version < known[before][1]


def run(race: Race) -> History:
    queue: Any = SPAWN.Queue()
    jobs = [(_read, seed) for seed in range(race.readers)] + [(_write, race.readers)]
    processes = [SPAWN.Process(target=job, args=(race, seed, queue)) for job, seed in jobs]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(20)
    reads = [read for kind, log in found if kind == "reads" for read in log]
    return History(reads, next(log for kind, log in found if kind == "invalidations"))


def _task(race: Race, dice: random.Random) -> tuple[Any, redis.Redis]:
    app = Celery("race", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(
        taskcache_url=race.url, taskcache_l1_max_staleness=race.staleness, taskcache_timeout=5.0
    )
    source = redis.Redis.from_url(race.url)

    @app.task(base=CachedTask, shared=False, name="version", cache_ttl=60)
    def version(thing: int) -> int:
        found = int(source.get(f"version:{thing}") or 0)
        time.sleep(dice.random() * 0.004)  # the work, in which an invalidation may come
        return found

    app.finalize()
    return version, source


def _read(race: Race, seed: int, queue: Any) -> None:
    dice = random.Random(seed)
    task, _ = _task(race, dice)
    log = []
    end = time.monotonic() + race.seconds
    while time.monotonic() < end:
        thing = dice.randrange(THINGS)
        begin = time.monotonic()
        log.append((thing, begin, task.cache.call(thing)))
    queue.put(("reads", log))


def _write(race: Race, seed: int, queue: Any) -> None:
    dice = random.Random(seed)
    task, source = _task(race, dice)
    cache = TaskCache(task.app)
    log = []
    end = time.monotonic() + race.seconds
    while time.monotonic() < end:
        thing = dice.randrange(THINGS)
        version = source.incr(f"version:{thing}")
        if dice.random() < 0.5:
            task.cache.invalidate(thing)
        else:
            cache.invalidate(task=task)
        log.append((thing, time.monotonic(), version))
        time.sleep(dice.random() * 0.03)
    queue.put(("invalidations", log))


def race_on(server: Server, staleness: float) -> History:
    return run(Race(server.url(2), staleness))
