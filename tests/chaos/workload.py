"""The processes of a chaos run: each reads, computes and invalidates a few things, in threads.

A task returns the next number of its thing's counter, which lives on a server that nothing happens
to. So results rise, and each run is known by its own. An invalidation counts up as well, before it
begins: what was computed before that has a lower number.
"""

import asyncio
import faulthandler
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from tests.chaos.sabotage import SABOTAGE
from tta_taskcache import CachedTask, CachePrimitive, TaskCache
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.testing import Invalidation, Read, Recorder, Run

MODULE = __name__
NAMESPACE = "chaos"
THINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a process is told, on its command line.

    Attributes:
        cache: URL of the cache's server.
        source: URL of the server with the counters.
        history: The file to record to.
        staleness: Δ that it is configured with (s).
        timeout: Its socket timeout (s).
        seed: Of its dice.
        writes: Whether it invalidates, too. One that does trusts its memory less.
        threads: How many do the same at once.
        replicas: How many replicas have to acknowledge an invalidation.
        sabotage: What of the scheme to take out, if anything.
        in_loops: Whether its threads have event loops, in which a primitive is executed.
    """

    cache: str
    source: str
    history: str
    staleness: float
    timeout: float
    seed: str
    writes: bool
    threads: int = 2
    replicas: int = 0
    sabotage: str = ""
    in_loops: bool = False

    def dump(self) -> str:
        return json.dumps(asdict(self))


class Workload:
    """What one process does, until it is told to stop."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._recorder = Recorder(Path(job.history))
        self._source = redis.Redis.from_url(job.source)
        app = Celery("chaos", broker="memory://", backend="cache+memory://", set_as_current=False)
        self._cache = TaskCache(
            app,
            job.cache,
            namespace=NAMESPACE,
            l1_max_staleness=job.staleness,
            timeout=job.timeout,
            wait_replicas=job.replicas,
        )

        @app.task(base=CachedTask, shared=False, name="version", cache_ttl=60)
        def version(thing: int) -> int:
            return self._compute(thing)

        app.finalize()
        self._task: Any = version
        self._stopping = False
        if job.sabotage:
            SABOTAGE[job.sabotage](self._cache)

    def run(self) -> None:
        """Work in threads until SIGTERM, or until one of them fails.

        Raises:
            Exception: What a task, or the cache, raised.
        """
        # Looked for instead of handled: the kernel may give a signal to any thread, and a handler
        # of Python's runs when the main thread wakes up, which would be never.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        with ThreadPoolExecutor(self._job.threads) as pool:
            threads = [pool.submit(self._work, number) for number in range(self._job.threads)]
            while not any(thread.done() for thread in threads):
                if signal.SIGTERM in signal.sigpending():
                    break
                time.sleep(0.05)
            self._stopping = True
        self._recorder.close()
        for thread in threads:
            thread.result()

    def _work(self, number: int) -> None:
        dice = random.Random(f"{self._job.seed}:{number}")
        while not self._stopping:
            for _ in range(dice.randrange(1, 20)):
                self._read(dice.randrange(THINGS))
            if self._job.writes and dice.random() < 0.5:
                self._invalidate(dice)
            time.sleep(dice.random() * 0.005)  # in bursts, as life is

    def _read(self, thing: int) -> None:
        begin = time.monotonic()
        version = self._task.cache.call(thing)
        self._recorder.add(Read(thing, begin, time.monotonic(), version))

    def _compute(self, thing: int) -> int:
        begin = time.monotonic()
        (version,) = self._count_up([thing])
        # The work, in which an invalidation may come.
        time.sleep(random.random() * 0.004)
        self._recorder.add(Run(thing, begin, time.monotonic(), version))
        return version

    def _invalidate(self, dice: random.Random) -> None:
        thing, how = dice.randrange(THINGS), dice.random()
        if how < 0.6:
            self._note([thing], lambda: self._task.cache.invalidate(thing))
        elif how < 0.95:
            self._note(range(THINGS), lambda: self._cache.invalidate(task=self._task))
        else:
            self._note(range(THINGS), self._cache.clear)

    def _note(self, things: list[int] | range, invalidate: Callable[[], None]) -> None:
        versions = self._count_up(things)
        begin = time.monotonic()
        end: float | None = None
        try:
            invalidate()
            end = time.monotonic()
        except StoreUnavailable:
            pass  # said so (promise I4): it may have happened or not
        for thing, version in zip(things, versions, strict=True):
            self._recorder.add(Invalidation(thing, begin, end, version))

    def _count_up(self, things: list[int] | range) -> list[int]:
        pipe = self._source.pipeline()
        for thing in things:
            pipe.incr(f"version:{thing}")
        return list(pipe.execute())


class LoopWorkload(Workload):
    """The same from asyncio: each thread has an event loop, with a few coroutines in it."""

    COROUTINES = 3

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._primitive = CachePrimitive(
            self._compute_in_loop,
            name="version",
            key_fn=lambda thing, _: str(thing),
            ttl_seconds=60,
            backend="redis",
            redis_url=job.cache,
            namespace=NAMESPACE,
            l1_max_staleness=job.staleness,
            timeout=job.timeout,
            wait_replicas=job.replicas,
        )

    async def _compute_in_loop(self, thing: int, _: Any) -> int:
        return await asyncio.to_thread(self._compute, thing)

    def _work(self, number: int) -> None:
        async def work() -> None:
            names = [f"{self._job.seed}:{number}:{i}" for i in range(self.COROUTINES)]
            await asyncio.gather(*(self._go_on(random.Random(name)) for name in names))
            await self._primitive.aclose()

        asyncio.run(work())

    async def _go_on(self, dice: random.Random) -> None:
        while not self._stopping:
            for _ in range(dice.randrange(1, 20)):
                thing, begin = dice.randrange(THINGS), time.monotonic()
                version = await self._primitive.execute(thing)
                self._recorder.add(Read(thing, begin, time.monotonic(), version))
            if self._job.writes and dice.random() < 0.5:
                await self._invalidate_in_loop(dice)
            await asyncio.sleep(dice.random() * 0.005)

    async def _invalidate_in_loop(self, dice: random.Random) -> None:
        is_one = dice.random() < 0.6
        things = [dice.randrange(THINGS)] if is_one else range(THINGS)
        versions = await asyncio.to_thread(self._count_up, things)
        begin = time.monotonic()
        end: float | None = None
        try:
            if is_one:
                await self._primitive.ainvalidate(key=str(things[0]))
            else:
                await self._primitive.aclear()
            end = time.monotonic()
        except StoreUnavailable:
            pass  # as in ``_note``
        for thing, version in zip(things, versions, strict=True):
            self._recorder.add(Invalidation(thing, begin, end, version))


def main() -> None:
    faulthandler.enable()  # when it hangs, SIGABRT tells where
    job = Job(**json.loads(sys.argv[1]))
    (LoopWorkload if job.in_loops else Workload)(job).run()


if __name__ == "__main__":
    main()
