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


async def close(harness: Harness) -> None:
    await harness.cache.async_cache.store.store.store.link.aclose()  # type: ignore[attr-defined]


def in_loop(harness: Harness, work: Callable[[], Any]) -> Any:
    async def main() -> Any:
        try:
            return await work()
        finally:
            await close(harness)

    return asyncio.run(main())


def test_a_loop_reads_what_a_thread_has_stored(harness: Harness) -> None:
    cache = harness.task("add").cache

    async def read() -> list[Any]:
        before = await cache.aget(1, 2, harness.tag)
        await asyncio.to_thread(cache.call, 1, 2, harness.tag)
        return [before, await cache.aget(1, 2, harness.tag)]

    assert in_loop(harness, read) == [MISSING, 3]


def test_a_miss_is_sent_and_awaited(harness: Harness, own_worker: Any) -> None:
    own_worker(harness, {})
    cache = harness.task("add").cache

    async def ask() -> list[Any]:
        one = await asyncio.gather(*(cache.acall(1, 2, harness.tag) for _ in range(200)))
        return [set(one), await cache.aget(1, 2, harness.tag)]

    assert in_loop(harness, ask) == [{3}, 3]
    assert harness.runs("add", harness.tag, 1, 2) == 1


def test_many_calls_are_awaited_together(harness: Harness, own_worker: Any) -> None:
    own_worker(harness, {})
    cache = harness.task("add").cache

    async def ask() -> list[Any]:
        return await asyncio.gather(*(cache.acall(i, 1, harness.tag) for i in range(100)))

    assert in_loop(harness, ask) == list(range(1, 101))


def test_i1_an_invalidation_from_a_loop_holds_everywhere(harness: Harness) -> None:
    cache = harness.task("add").cache
    cache.call(1, 2, harness.tag)

    async def invalidate() -> Any:
        await harness.cache.ainvalidate(key=cache.key(1, 2, harness.tag))
        return await cache.aget(1, 2, harness.tag)

    assert in_loop(harness, invalidate) is MISSING
    assert cache.get(1, 2, harness.tag) is MISSING


def test_r3_hits_of_a_loop_share_a_round_trip(harness: Harness, redis_server: Server) -> None:
    cache = harness.task("add").cache
    for i in range(50):
        cache.call(i, 1, harness.tag)
    harness.cache.runtime.engine.parts.l1.entries.clear()

    async def read() -> tuple[int, list[Any]]:
        await cache.aget(100, 1, harness.tag)
        with round_trips(redis_server) as trips:
            found = await asyncio.gather(*(cache.aget(i, 1, harness.tag) for i in range(50)))
        return trips.count, found

    assert in_loop(harness, read) == (1, list(range(1, 51)))
