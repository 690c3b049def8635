"""What calls of primitives ask of the cache, and what their runs say (D3, D4)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from tests.unit.aio.running import Source, run, until
from tta_taskcache import (
    MISSING,
    NOT_MODIFIED,
    CacheMiss,
    CachePrimitive,
    ConfigurationError,
    TaskCache,
    cache_control,
    cache_previous,
    cached,
)


async def aged(cache: CachePrimitive, age: float) -> None:
    """Wait until what is stored is older."""
    await until(lambda: cache.get("x", max_age=age) is MISSING)


def test_d3_each_mode(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, **place)

    async def ask() -> None:
        with pytest.raises(CacheMiss, match=r"'source': nothing to answer with \(absent\)"):
            await cache.execute("x", cache="only")
        assert await cache.execute("x", cache="no-store") == 1
        assert await cache.execute("x", cache="bypass") == 2
        assert await cache.aget("x") is MISSING
        assert [await cache.execute("x"), await cache.execute("x", cache="use")] == [3, 3]
        assert await cache.execute("x", cache="only") == 3
        assert await cache.execute("x", cache="no-store") == 3
        assert await cache.execute("x", cache="bypass") == 4
        assert await cache.execute("x", cache="refresh") == 5
        assert await cache.execute("x") == 5
        with pytest.raises(ValueError, match="cache='never': must be one of 'use', 'refresh'"):
            await cache.execute("x", cache="never")  # type: ignore[arg-type]  # it is wrong
        assert source.runs == 5

    run(ask, cache)
    counted = cache.stats().tasks["source"]
    assert counted.fills == {"no-store": 1, "stored": 2}
    assert counted.misses == {"direct/absent": 4, "direct/bypass": 2, "direct/refresh": 1}


def test_d3_an_older_answer_is_a_miss_and_replaced(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, **place)

    async def ask() -> None:
        assert await cache.execute("x", max_age=3600) == 1
        assert await cache.execute("x", max_age=timedelta(hours=1)) == 1
        await aged(cache, 0.01)
        assert await cache.aget("x", max_age=0.01) is MISSING
        with pytest.raises(CacheMiss, match="too-old"):
            await cache.execute("x", cache="only", max_age=0.01)
        assert await cache.execute("x", max_age=0.01) == 2
        assert [await cache.execute("x"), source.runs] == [2, 2]
        with pytest.raises(ValueError, match="max_age=-1: must be a number of seconds"):
            await cache.execute("x", max_age=-1)

    run(ask, cache)


def test_d3_a_greatest_age_refuses_what_is_stale(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, ttl_seconds=0.05, stale_while_revalidate=60, **place)

    async def ask() -> None:
        await cache.execute("x")
        await aged(cache, 0.06)
        assert await cache.execute("x", max_age=60) == 2

    run(ask, cache)


def test_d3_a_block_holds_for_coroutines_threads_and_tasks(source: Source) -> None:
    app = Celery(set_as_current=False, broker="memory://", backend="cache+memory://")
    tasks = TaskCache(app)
    cache = CachePrimitive(source)

    @cached()
    async def other(data: str) -> Any:
        return await source(data, None)

    async def ask() -> None:
        await cache.execute("x")
        await other("x")
        assert source.runs == 2
        for mode in (cache.mode, CachePrimitive.mode, other.cache.mode, tasks.mode):
            runs = source.runs
            with mode("refresh"):
                assert await cache.aget("x") is MISSING
                assert cache.get("x") is MISSING
                await asyncio.gather(cache.execute("x"), other("x"))
                await asyncio.to_thread(asyncio.run, cache.execute("x"))
                assert source.runs == runs + 3
                assert await cache.execute("x", cache="use") == await cache.execute(
                    "x", cache="only"
                )
                assert source.runs == runs + 3, "what a call says itself comes first"
            assert await cache.execute("x") in (runs + 1, runs + 2, runs + 3)
        with cache.mode(max_age=0.0):
            await until(lambda: cache.get("x") is MISSING)
            with cache.mode("only"), pytest.raises(CacheMiss):
                await cache.execute("x")
            with cache.mode("only", max_age=3600):
                await cache.execute("x")

    run(ask, cache)


def test_d3_a_refresh_in_the_background_is_part_of_no_block(place: dict[str, Any]) -> None:
    runs = []

    async def inner(data: Any, _: Any) -> Any:
        runs.append(data)
        return len(runs)

    asked = CachePrimitive(inner, **place)
    outer = CachePrimitive(
        asked,
        ttl_seconds=0.05,
        stale_while_revalidate=60,
        depends=False,
        **{**place, "name": "outer"},
    )

    async def ask() -> None:
        await outer.execute("x")
        await asked.ainvalidate(pattern="*")
        await aged(outer, 0.06)
        with outer.mode("only"):
            assert await outer.execute("x") == 1, "stale"
            await until(lambda: outer.get("x") == 2)

    run(ask, outer, asked)


def test_what_a_run_decides(place: dict[str, Any]) -> None:
    async def fetch(data: str, _: Any) -> Any:
        previous = cache_previous()
        if previous is not None and previous.etag == data:
            return NOT_MODIFIED
        cache_control(etag=data, store=data != "unstored", tags=["decided"])
        return {"of": data}

    cache = CachePrimitive(fetch, **place)

    async def ask() -> None:
        assert await cache.execute("a") == {"of": "a"}
        assert await cache.execute("a", cache="refresh") == {"of": "a"}
        await cache.execute("unstored")
        assert await cache.aget("unstored") is MISSING
        await cache.ainvalidate(tags=["decided"])
        assert await cache.aget("a") is MISSING

    run(ask, cache)
    assert cache.stats().tasks["source"].fills == {"stored": 2, "cache-control": 1}


def test_d4_a_run_that_replaces_what_is_too_old_sees_it(place: dict[str, Any]) -> None:
    seen = []

    async def fetch(_data: str, _: Any) -> Any:
        seen.append(previous.value if (previous := cache_previous()) is not None else None)
        return len(seen)

    cache = CachePrimitive(fetch, **place)

    async def ask() -> None:
        await cache.execute("x")
        await aged(cache, 0.01)
        assert await cache.execute("x", max_age=0.01) == 2
        await cache.ainvalidate(key="x")
        await cache.execute("x")

    run(ask, cache)
    assert seen == [None, 1, None]


def test_callables_of_the_result_and_quick_runs(place: dict[str, Any]) -> None:
    async def token(data: str, _: Any) -> Any:
        return {"expires_in": len(data), "account": data}

    cache = CachePrimitive(
        token,
        ttl_seconds=lambda result: result["expires_in"] - 3,
        tags=lambda result: [f"account:{result['account']}"],
        **place,
    )
    quick = CachePrimitive(token, min_run=60, **{**place, "name": "quick"})

    async def ask() -> None:
        for data in ("abc", "abcdef"):
            await cache.execute(data)
        assert await cache.aget("abc") is MISSING
        assert await cache.aget("abcdef") is not MISSING
        await cache.ainvalidate(tags=["account:abcdef"])
        assert await cache.aget("abcdef") is MISSING
        await quick.execute("x")
        assert await quick.aget("x") is MISSING
        await quick.execute("x", cache="refresh")
        assert await quick.aget("x") is not MISSING, "it would answer as the old entry did"

    run(ask, cache, quick)
    assert quick.stats().tasks["quick"].fills == {"min-run": 1, "stored": 1}
    with pytest.raises(ConfigurationError, match="min_run=-1"):
        CachePrimitive(token, min_run=-1)
