"""What the cache costs an event loop, beside other caches for asyncio, in one run.

Ours keeps more promises for that: equal calls run once, invalidations hold everywhere at once, and
values are the callers' own. What the others do without is not measured.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from aiocache import Cache as AioCache
from aiocache import cached as aiocached
from async_lru import alru_cache
from cashews import Cache as Cashews
from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.show import ms, table
from tests.support.counting import round_trips
from tests.support.proxy import Proxy
from tests.support.servers import Server, available
from tta_taskcache import CachePrimitive

#: Calls at once, and calls one after the other.
AT_ONCE, IN_TURN = 1_000, 3_000

Ask = Callable[[int], Awaitable[Any]]
VALUE = {"answer": "x" * 200}


@dataclass
class Source:
    """What is dear; it counts its runs."""

    runs: int = 0
    seconds: float = 0.0

    async def __call__(self, *_: Any) -> Any:
        self.runs += 1
        await asyncio.sleep(self.seconds)
        return VALUE


class Watchdog:
    """Says how long the turns of a loop take at most, in CPU of its thread.

    Attributes:
        turn: The longest one, without the collector of CPython, which goes through all objects of
            the program once in a while.
        whole: The longest one, with it.
    """

    def __init__(self) -> None:
        self.turn = self.whole = 0.0
        self._collected = self._began = 0.0
        self._is_over = False

    async def __aenter__(self) -> Self:
        gc.callbacks.append(self._note_collection)
        self._at = (time.thread_time(), self._collected)
        asyncio.get_running_loop().call_soon(self._tick)
        return self

    def _note_collection(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self._collected += time.thread_time() - self._began

    def _tick(self) -> None:
        now, collected = time.thread_time(), self._collected
        whole = now - self._at[0]
        self.whole = max(self.whole, whole)
        self.turn = max(self.turn, whole - (collected - self._at[1]))
        self._at = (now, collected)
        if not self._is_over:
            asyncio.get_running_loop().call_soon(self._tick)

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        gc.callbacks.remove(self._note_collection)


def ours(source: Source, url: str | None) -> Ask:
    """Ours."""
    place: dict[str, Any] = {"backend": "redis", "redis_url": url} if url else {}
    cache = CachePrimitive(
        source, name="bench", max_size=100_000, key_fn=lambda data, _: str(data), **place
    )
    return cache.execute


def cashews(source: Source, url: str | None) -> Ask:
    """Theirs, without its lock."""
    cache = Cashews()
    cache.setup(url or "mem://?size=100000")

    @cache(ttl="1h", key="bench:{i}")
    async def ask(i: int) -> Any:
        return await source(i)

    return ask


def aiocache(source: Source, url: str | None) -> Ask:
    """Theirs, as its decorator is by default."""
    place: dict[str, Any] = {}
    if url:
        host, port = url.removeprefix("redis://").split("/")[0].split(":")
        place = {"cache": AioCache.REDIS, "endpoint": host, "port": int(port)}

    @aiocached(ttl=3600, key_builder=lambda _, i: f"aio:{i}", **place)
    async def ask(i: int) -> Any:
        return await source(i)

    return ask


def async_lru(source: Source, _: str | None) -> Ask:
    """Theirs, which knows memory only."""

    @alru_cache(maxsize=100_000, ttl=3600)
    async def ask(i: int) -> Any:
        return await source(i)

    return ask


LIBRARIES: dict[str, Callable[[Source, str | None], Ask]] = {
    "tta_taskcache": ours,
    "cashews": cashews,
    "aiocache": aiocache,
    "async-lru": async_lru,
}


async def in_turn(ask: Ask) -> float:
    """Microseconds of a hit, of calls one after the other."""
    await ask(0)
    started = time.perf_counter()
    for _ in range(IN_TURN):
        await ask(0)
    return (time.perf_counter() - started) / IN_TURN * 1e6


async def from_redis(make: Callable[[Source, str | None], Ask], url: str) -> float:
    """Microseconds of a hit that this process hasn't in memory."""
    first, second = make(Source(), url), make(Source(), url)
    for i in range(AT_ONCE):
        await first(i)
    await second(AT_ONCE)  # connects
    started = time.perf_counter()
    for i in range(AT_ONCE):
        await second(i)
    return (time.perf_counter() - started) / AT_ONCE * 1e6


async def stampede(make: Callable[[Source, str | None], Ask], url: str | None) -> int:
    """The runs for calls of one key that miss at once."""
    source = Source(seconds=0.2)
    ask = make(source, url)
    await asyncio.gather(*(ask(-1) for _ in range(AT_ONCE)))
    return source.runs


async def compare(url: str) -> None:
    """Compare the libraries."""
    rows = []
    for name, make in LIBRARIES.items():
        has_redis = make is not async_lru
        rows.append(
            (
                name,
                f"{await in_turn(make(Source(), None)):.0f} µs",
                f"{await from_redis(make, url):.0f} µs" if has_redis else "none",
                f"{await stampede(make, None):,}",
                f"{await stampede(make, url):,}" if has_redis else "none",
            )
        )
    columns = ("library", "hit, memory", "hit, Redis", "1,000 misses: runs, memory", "…, Redis")
    table("Caches for asyncio", columns, rows)


async def hits_at_once(server: Server) -> None:
    """Hits in Redis at once, against bare GETs at once."""
    first, second = ours(Source(), server.url()), ours(Source(), server.url())
    # As many connections as we have: with one for each GET, most of the time goes into connecting.
    client = Redis.from_pool(BlockingConnectionPool.from_url(server.url(), max_connections=16))
    for i in range(2 * AT_ONCE):
        await first(i)
        await client.set(f"bare:{i}", b"x" * 400)
    rows = []
    for name, ask in (
        ("GET", lambda i: client.get(f"bare:{i}")),
        ("execute", second),
    ):
        await asyncio.gather(*(ask(i) for i in range(AT_ONCE)))  # connects
        with round_trips(server) as trips:
            started = time.perf_counter()
            await asyncio.gather(*(ask(AT_ONCE + i) for i in range(AT_ONCE)))
            took = time.perf_counter() - started
        rows.append((name, f"{trips.count:,}", f"{AT_ONCE / took:,.0f}"))
    table("1,000 hits in Redis at once", ("what", "round trips", "a second"), rows)
    await client.aclose()


async def work(ask: Ask) -> None:
    """Ten calls after another, by each of a thousand tasks, which begin a few at a time."""

    async def ask_often(first: int) -> None:
        for i in range(10):
            await ask((first + i * 37) % AT_ONCE)

    tasks = []
    for first in range(AT_ONCE):
        tasks.append(asyncio.create_task(ask_often(first)))
        if first % 20 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def blocked(server: Server) -> None:
    """How long the loop is kept from others, under load and faults."""
    rows = []
    with Proxy(server.port) as proxy:
        for name, url, set_up in (
            ("no cache", None, lambda: None),
            ("memory", None, lambda: None),
            ("Redis", proxy.url(), lambda: None),
            ("Redis, 100 ms away", proxy.url(), lambda: proxy.delay(0.1)),
            ("Redis, frozen", proxy.url(), proxy.freeze),
            ("Redis, gone", proxy.url(), proxy.refuse),
        ):
            set_up()
            source = Source(seconds=0.01)
            async with Watchdog() as dog:
                await work(source if name == "no cache" else ours(source, url))
            rows.append((name, ms(dog.turn), ms(dog.whole)))
            proxy.heal()
    columns = ("10,000 calls of 1,000 keys", "longest turn", "with the collector")
    table("How long the loop is kept from others, in CPU", columns, rows)


def run() -> None:
    """Run all of it on an embedded server."""
    logging.disable(logging.ERROR)  # aiocache runs out of connections, and says so a thousand times
    with Server(available()[0]) as server:
        asyncio.run(compare(server.url()))
        asyncio.run(hits_at_once(server))
        asyncio.run(blocked(server))
