"""Races of invalidations with reads that neighbours answer: tasks and primitives (I1, I2).

``SEMANTIC_READS=100000`` makes it as long as ``make semantic`` does.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from celery import Celery

from tests.integration.semantic.harness import embed
from tests.support.servers import Server
from tta_taskcache import CachedTask, CachePrimitive, Semantic, TaskCache
from tta_taskcache.testing.history import History, Invalidation, Read, check

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.one_server_kind

READS = int(os.environ.get("SEMANTIC_READS", "600"))
READERS, AT_ONCE = 3, 4

#: Texts of one first word are near, and hardly any is asked for twice.
SEMANTIC = Semantic(on="prompt", embed=embed, threshold=0.9, guard=None, embedder="toy")


class World:
    """A source of three things, and processes that ask for them in ever other words."""

    def __init__(self, url: str, tags: tuple[str, ...] = ("thing:{thing}",)) -> None:
        self.url = url
        self.options: dict[str, Any] = {"tags": tags, "semantic": SEMANTIC}
        self.versions = [0.0] * 3
        self.history = History()
        self.is_over = threading.Event()
        self.near = 0

    def source(self, thing: int) -> float:
        version = self.versions[thing]
        time.sleep(0.0005)  # a source takes time, in which the writer may come
        return version

    @contextmanager
    def task(self) -> Iterator[tuple[Callable[..., list[float]], Callable[[int], None], Any]]:
        """A process that calls a task: how it reads, how it invalidates, its counts."""
        app = Celery(set_as_current=False, broker="memory://", backend="cache+memory://")
        cache = TaskCache(app, url=self.url, l1_max_staleness=0.0, timeout=5.0)
        options = {f"cache_{name}": value for name, value in self.options.items()}

        @app.task(base=CachedTask, name="answer", shared=False, cache_ttl=600, **options)
        def answer(prompt: str, thing: int) -> float:
            return self.source(thing)

        yield (
            lambda texts, thing: [answer.cache.call(text, thing) for text in texts],
            lambda thing: cache.invalidate(tags=[f"thing:{thing}"]),
            cache.runtime.engine.parts.counters.totals,
        )
        app.close()

    @contextmanager
    def primitive(self) -> Iterator[tuple[Callable[..., list[float]], Callable[[int], None], Any]]:
        """A process that executes a primitive, some calls at once."""

        async def run(data: dict[str, Any], _: Any) -> float:
            return await asyncio.to_thread(self.source, data["thing"])

        cache = CachePrimitive(
            run, name="answer", backend="redis", redis_url=self.url, l1_max_staleness=0.0,
            timeout=5.0, **self.options,
        )  # fmt: skip

        async def ask(texts: list[str], thing: int) -> list[float]:
            # Two equal ones, of which one follows the other.
            asked = ({"prompt": text, "thing": thing} for text in (*texts[1:], texts[-1]))
            return list(await asyncio.gather(*map(cache.execute, asked)))

        with asyncio.Runner() as runner:
            yield (
                lambda texts, thing: runner.run(ask(texts, thing)),
                lambda thing: runner.run(cache.ainvalidate(tags=[f"thing:{thing}"])),
                cache._runtime.counters.totals,
            )
            runner.run(cache.aclose())

    def read(self, process: Any, seed: int, reads: int) -> None:
        chance = Random(seed)
        with process() as (ask, _, totals):
            for number in range(reads // AT_ONCE):
                thing = chance.randrange(3)
                texts = [f"thing{thing} {seed} {number} {i}" for i in range(AT_ONCE)]
                begin = time.monotonic()
                for version in ask(texts, thing):
                    self.history.add(Read(thing, begin, time.monotonic(), version))
            counts = totals()
            self.near += int(sum(n for name, n in counts.items() if "|hit|answer" in name))

    def write(self, process: Any) -> None:
        chance = Random(0)
        with process() as (_, invalidate, _):
            while not self.is_over.wait(chance.random() * 0.05):
                thing = chance.randrange(3)
                self.versions[thing] += 1
                begin, version = time.monotonic(), self.versions[thing]
                invalidate(thing)
                self.history.add(Invalidation(thing, begin, time.monotonic(), version))

    def race(self, process: Any, reads: int) -> list[Any]:
        readers = [
            threading.Thread(target=self.read, args=(process, seed, reads // READERS))
            for seed in range(READERS)
        ]
        writer = threading.Thread(target=self.write, args=(process,))
        for thread in (*readers, writer):
            thread.start()
        for thread in readers:
            thread.join()
        self.is_over.set()
        writer.join()
        assert len(self.history.reads) == reads // READERS // AT_ONCE * AT_ONCE * READERS
        assert self.near
        logger.info(
            "%d reads, %d answered by neighbours, %d invalidations",
            len(self.history.reads),
            self.near,
            len(self.history.invalidations),
        )
        return list(check(self.history, 0.0))


@pytest.mark.parametrize("kind", ["task", "primitive"])
def test_i1_no_neighbour_answers_once_its_invalidation_is_acknowledged(
    redis_server: Server, kind: str
) -> None:
    world = World(redis_server.url())
    assert world.race(getattr(world, kind), READS) == []


@pytest.mark.parametrize("kind", ["task", "primitive"])
def test_i1_without_tags_the_same_check_fails(redis_server: Server, kind: str) -> None:
    world = World(redis_server.url(), tags=())
    assert world.race(getattr(world, kind), min(READS, 600))
