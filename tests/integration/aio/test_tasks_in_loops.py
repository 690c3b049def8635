"""``task.cache`` from asyncio: what a worker computes, read and awaited without blocking."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.support.counting import round_trips
from tests.support.servers import Server
from tta_taskcache import MISSING


@pytest.fixture
def harness(redis_server: Server, new_harness: Callable[..., Harness]) -> Harness:
    return new_harness(redis_server)


def in_loop(harness: Harness, work: Callable[[], Any]) -> Any:
    async def main() -> Any:
        try:
            return await work()
        finally:
            await harness.cache.aclose()

    return asyncio.run(main())


def test_a_loop_reads_what_a_thread_has_stored(harness: Harness) -> None:
    cache = harness.task("cached.add").cache

    async def read() -> list[Any]:
        before = await cache.aget(harness.tag, 1, 2)
        await asyncio.to_thread(cache.call, harness.tag, 1, 2)
        return [before, await cache.aget(harness.tag, 1, 2)]

    assert in_loop(harness, read) == [MISSING, 3]


def test_a_miss_is_sent_and_awaited(harness: Harness, own_worker: Any) -> None:
    own_worker(harness, {})
    cache = harness.task("cached.add").cache

    async def ask() -> list[Any]:
        one = await asyncio.gather(*(cache.acall(harness.tag, 1, 2) for _ in range(200)))
        return [set(one), await cache.aget(harness.tag, 1, 2)]

    assert in_loop(harness, ask) == [{3}, 3]
    assert harness.runs("add", harness.tag, 1, 2) == 1


def test_many_calls_are_awaited_together(harness: Harness, own_worker: Any) -> None:
    own_worker(harness, {})
    cache = harness.task("cached.add").cache

    async def ask() -> list[Any]:
        return await asyncio.gather(*(cache.acall(harness.tag, i, 1) for i in range(100)))

    assert in_loop(harness, ask) == list(range(1, 101))


def test_i1_an_invalidation_from_a_loop_holds_everywhere(harness: Harness) -> None:
    cache = harness.task("cached.add").cache
    cache.call(harness.tag, 1, 2)

    async def invalidate() -> Any:
        await harness.cache.ainvalidate(key=cache.key(harness.tag, 1, 2))
        return await cache.aget(harness.tag, 1, 2)

    assert in_loop(harness, invalidate) is MISSING
    assert cache.get(harness.tag, 1, 2) is MISSING


def test_r3_hits_of_a_loop_share_a_round_trip(harness: Harness, redis_server: Server) -> None:
    cache = harness.task("cached.add").cache
    for i in range(50):
        cache.call(harness.tag, i, 1)
    harness.cache.runtime.engine.parts.l1.entries.clear()

    async def read() -> tuple[int, list[Any]]:
        await cache.aget(harness.tag, 100, 1)
        with round_trips(redis_server) as trips:
            found = await asyncio.gather(*(cache.aget(harness.tag, i, 1) for i in range(50)))
        return trips.count, found

    trips, found = in_loop(harness, read)
    assert found == list(range(1, 51))
    assert trips < 25, "those of one turn of the loop share one; a slow machine has more turns"
