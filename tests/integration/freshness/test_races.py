"""Races of invalidations with reads of what was made from what they end, two deep (D1, D2).

``RACE_READS=100000`` makes it as long as the acceptance asks for.
"""

import os
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from celery import Celery

from tests.support.servers import Server
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.testing.history import History, Invalidation, Read, check

pytestmark = pytest.mark.one_server_kind

READS = int(os.environ.get("RACE_READS", "400"))
READERS = 4


class World:
    """A source, and processes that read reports of summaries of it."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url, self.options = url, options
        self.versions = [0.0] * 3
        self.history = History()
        self.is_over = threading.Event()

    def process(self) -> Any:
        app = Celery(set_as_current=False, broker="memory://", backend="cache+memory://")
        app.conf.task_always_eager = True
        cache = TaskCache(app, url=self.url, l1_max_staleness=0.0, timeout=5.0)

        def cached(run: Any, **options: Any) -> Any:
            return app.task(base=CachedTask, shared=False, cache_ttl=600, **options)(run)

        def source(thing: int) -> float:
            version = self.versions[thing]
            time.sleep(0.0005)  # a source takes time, in which the writer may come
            return version

        def summary(thing: int) -> float:
            return float(source_task.cache.call(thing))

        def report(thing: int) -> float:
            return float(summary_task.cache.call(thing))

        source_task = cached(source, cache_tags=("thing:{thing}",))
        summary_task = cached(summary, **self.options)
        return cache, cached(report, **self.options)

    def read(self, seed: int, reads: int) -> None:
        _, report = self.process()
        chance = Random(seed)
        for _ in range(reads):
            thing, begin = chance.randrange(3), time.monotonic()
            version = report.cache.call(thing)
            self.history.add(Read(thing, begin, time.monotonic(), version))

    def write(self, soft: bool) -> None:
        cache, _ = self.process()
        chance = Random(0)
        while not self.is_over.wait(chance.random() * 0.02):
            thing = chance.randrange(3)
            self.versions[thing] += 1
            begin, version = time.monotonic(), self.versions[thing]
            cache.invalidate(tags=[f"thing:{thing}"], soft=soft)
            self.history.add(Invalidation(thing, begin, time.monotonic(), version))

    def race(self, reads: int, *, soft: bool = False) -> list[Any]:
        readers = [
            threading.Thread(target=self.read, args=(seed, reads // READERS))
            for seed in range(READERS)
        ]
        writer = threading.Thread(target=self.write, args=(soft,))
        for thread in (*readers, writer):
            thread.start()
        for thread in readers:
            thread.join()
        self.is_over.set()
        writer.join()
        assert len(self.history.reads) == reads // READERS * READERS
        return list(check(self.history, 0.0))


@pytest.fixture
def url(redis_server: Server) -> Iterator[str]:
    return redis_server.url()


@pytest.mark.parametrize("soft", [False, True])
def test_d1_no_read_gets_what_was_made_from_an_ended_answer(url: str, soft: bool) -> None:
    assert World(url).race(READS, soft=soft) == []


def test_d1_without_dependencies_the_same_check_fails(url: str) -> None:
    assert World(url, cache_depends=False).race(min(READS, 400))
