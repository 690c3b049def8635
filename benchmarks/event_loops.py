"""What the cache costs an event loop, beside other caches for asyncio, in one run.

Ours keeps more promises for that: equal calls run once, invalidations hold everywhere at once, and
values are the callers' own. What the others do without is not measured.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from aiocache import Cache as AioCache
from aiocache import cached as aiocached
from async_lru import alru_cache
from cashews import Cache as Cashews
from redis.asyncio import Redis

from benchmarks.show import console, table
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
    """Says how long the turns of a loop take: the longest, in CPU of its thread and by the wall."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._at = (time.thread_time(), time.perf_counter())
        asyncio.get_running_loop().call_soon(self._tick)
        return self

    def _tick(self) -> None:
        cpu, wall = time.thread_time(), time.perf_counter()
        self.cpu, self.wall = max(self.cpu, cpu - self._at[0]), max(self.wall, wall - self._at[1])
        self._at = (cpu, wall)
        if not self._is_over:
            asyncio.get_running_loop().call_soon(self._tick)

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True


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
    client = Redis.from_url(server.url(), max_connections=2 * AT_ONCE)
    for i in range(AT_ONCE):
        await first(i)
        await client.set(f"bare:{i}", b"x" * 400)
    await second(AT_ONCE)
    rows = []
    for name, ask in (
        ("GET", lambda i: client.get(f"bare:{i}")),
        ("execute", second),
    ):
        with round_trips(server) as trips:
            started = time.perf_counter()
            await asyncio.gather(*(ask(i) for i in range(AT_ONCE)))
            took = time.perf_counter() - started
        rows.append((name, f"{trips.count:,}", f"{AT_ONCE / took:,.0f}"))
    table("1,000 hits in Redis at once", ("what", "round trips", "a second"), rows)
    await client.aclose()


async def slices(ask: Ask, keys: int) -> None:
    """Calls, begun a few at a time: to begin them is the caller's."""
    numbers = iter(range(10 * AT_ONCE))
    tasks: list[asyncio.Task[Any]] = []
    while some := list(islice(numbers, 20)):
        tasks += [asyncio.create_task(_task(ask, i % keys)) for i in some]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def _task(ask: Ask, i: int) -> Any:
    return await ask(i)


async def blocked(server: Server) -> None:
    """How long the loop is kept from others, under load and faults."""
    rows = []
    with Proxy(server.port) as proxy:
        for name, url, set_up in (
            ("memory", None, lambda: None),
            ("Redis", proxy.url(), lambda: None),
            ("Redis, 100 ms away", proxy.url(), lambda: proxy.delay(0.1)),
            ("Redis, frozen", proxy.url(), proxy.freeze),
            ("Redis, gone", proxy.url(), proxy.refuse),
        ):
            set_up()
            async with Watchdog() as dog:
                await slices(ours(Source(seconds=0.01), url), AT_ONCE)
            rows.append((name, f"{dog.cpu * 1e3:.1f} ms", f"{dog.wall * 1e3:.1f} ms"))
            proxy.heal()
    columns = ("10,000 calls of 1,000 keys", "longest turn, CPU", "by the wall")
    table("How long the loop is kept from others", columns, rows)


def run() -> None:
    """Run all of it on an embedded server."""
    logging.disable(logging.ERROR)  # aiocache runs out of connections, and says so a thousand times
    with Server(available()[0]) as server:
        asyncio.run(compare(server.url()))
        asyncio.run(hits_at_once(server))
        asyncio.run(blocked(server))
    console.print("In CPU: on a machine with other work, turns take longer by the wall.")
