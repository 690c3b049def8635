"""``CachePrimitive`` and ``cached``: what each option does."""

import asyncio
import pickle
from typing import Any

import pytest

from tests.support.servers import Server
from tests.unit.aio.running import Source, run, until
from tta_taskcache import (
    MISSING,
    CacheError,
    CachePrimitive,
    ConfigurationError,
    WorkflowContext,
    cached,
)


def test_r1_any_value_is_returned_as_it_was(place: dict[str, Any]) -> None:
    values = [None, 0, "", [], False, {}, {"a": [1]}]
    runs: list[int] = []

    async def value(which: int, _: Any) -> Any:
        runs.append(which)
        return values[which]

    cache = CachePrimitive(value, **place)

    async def ask() -> list[Any]:
        return [await cache.execute(i) for i in range(len(values)) for _ in range(2)]

    assert run(ask, cache) == [value for value in values for _ in range(2)]
    assert runs == list(range(len(values)))


def test_r1b_what_json_would_change_is_not_stored(redis_server: Server) -> None:
    async def pair(data: int, _: Any) -> tuple[int, int]:
        return data, data

    for serializer, stored in (("json", 0), ("pickle", 1)):
        cache = CachePrimitive(
            pair,
            name=serializer,
            backend="redis",
            redis_url=redis_server.url(),
            serializer=serializer,
        )

        async def ask(cache: CachePrimitive = cache) -> list[Any]:
            return [await cache.execute(1), await cache.execute(1)]

        assert run(ask, cache) == [(1, 1), (1, 1)]
        assert cache.stats().tasks[serializer].fills.get("stored", 0) == stored


def test_k1_unequal_data_are_kept_apart(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, **place)
    data = [1, 1.0, True, "1", [1], (1,), {"a": 1}, {"a": "1"}, None]

    async def ask() -> list[Any]:
        return [await cache.execute(each) for each in data]

    assert run(ask, cache) == list(range(1, len(data) + 1))


def test_k1_keys_of_key_fn_are_kept_apart(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, key_fn=lambda data, _: data, **place)
    long = "x" * 1_000
    data = ["a:b", "a%3Ab", "a", "a:", 1, "1", long, long + "y", "", "*", "é", "\ud800", "\ud801"]

    async def ask() -> list[Any]:
        return [await cache.execute(each) for each in data * 2]

    assert run(ask, cache) == list(range(1, len(data) + 1)) * 2


def test_k3_users_never_share_without_a_key(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, **place)

    async def ask() -> list[Any]:
        users = [WorkflowContext(user_id=user) for user in ("a", "b", "a")]
        return [await cache.execute("settings", user) for user in users]

    assert run(ask, cache) == [1, 2, 1]


def test_k3_what_it_varies_on_and_lacks_is_not_cached(
    source: Source, place: dict[str, Any]
) -> None:
    cache = CachePrimitive(source, vary=("tenant",), key_fn=lambda data, _: data, **place)

    async def ask() -> list[Any]:
        contexts = [WorkflowContext(tenant="a"), WorkflowContext(tenant="b"), None, None]
        found = [await cache.execute("x", context) for context in contexts]
        await cache.ainvalidate(key="x")  # of every tenant
        return [*found, *await cache.akeys()]

    assert run(ask, cache) == [1, 2, 3, 4]
    assert cache.stats().tasks["source"].misses["direct/missing-context"] == 2


def test_i1_tags_patterns_and_keys_end_entries(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(
        source,
        key_fn=lambda data, _: f"{data['user']}:{data['page']}",
        tags=("user:{user}", "tenant:{tenant}"),
        **place,
    )

    async def ask() -> None:
        context = WorkflowContext(tenant="acme")
        for user in "ab":
            for page in "xy":
                await cache.execute({"user": user, "page": page}, context)
        assert set(await cache.akeys()) == {"a:x", "a:y", "b:x", "b:y"}
        await cache.ainvalidate(tags=["user:a"])
        assert set(await cache.akeys()) == {"b:x", "b:y"}
        assert await cache.aget({"user": "a", "page": "x"}, context) is MISSING
        await cache.ainvalidate(pattern="b:x*")
        assert await cache.akeys() == ["b:y"]
        await cache.ainvalidate(key="b:y")
        assert await cache.akeys() == []

    run(ask, cache)
    with pytest.raises(ValueError, match="key, tags or pattern"):
        cache.invalidate()
    with pytest.raises(TypeError, match="must be a collection"):
        cache.invalidate(tags="user:a")


def test_stale_results_are_served_while_a_task_refreshes(
    source: Source, place: dict[str, Any]
) -> None:
    cache = CachePrimitive(source, ttl_seconds=0.05, stale_while_revalidate=60, **place)

    async def ask() -> list[Any]:
        first = await cache.execute("x")
        found: list[Any] = []

        async def ask_again() -> bool:
            found.append(await cache.execute("x"))
            return bool(found[-1] > 1)

        async with asyncio.timeout(30):
            while not await ask_again():  # noqa: ASYNC110 - time is what it waits for
                await asyncio.sleep(0.01)
        return [first, *found]

    versions = run(ask, cache)
    assert versions[0] == 1
    assert versions == sorted(versions)
    assert "stale" in cache.stats().tasks["source"].stale


def test_the_last_result_stands_in_for_a_run_that_fails(
    source: Source, place: dict[str, Any]
) -> None:
    cache = CachePrimitive(source, ttl_seconds=0.02, stale_if_error=60, **place)

    async def ask() -> Any:
        assert await cache.execute("x") == 1
        source.error = ValueError("down")
        await until(lambda: cache.get("x") is MISSING)
        return await cache.execute("x")

    assert run(ask, cache) == 1
    assert source.runs == 2


def test_failures_are_remembered(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, errors={LookupError: 60}, **place)
    source.error = KeyError("nobody")

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(KeyError, match="nobody"):
                await cache.execute("x")

    run(ask, cache)
    assert source.runs == 1


def test_shadow_looks_and_runs(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, shadow=True, **place)

    async def ask() -> list[Any]:
        return [await cache.execute("x") for _ in range(3)]

    assert run(ask, cache) == [1, 2, 3]
    stats = cache.stats().tasks["source"]
    assert stats.shadow == {"hit": 2, "miss": 1}
    assert stats.verified == {"different": 2}, "it is impure"


def test_verification_compares(place: dict[str, Any]) -> None:
    async def double(data: int, _: Any) -> int:
        return 2 * data

    cache = CachePrimitive(double, verify=1.0, **place)

    async def ask() -> list[Any]:
        return [await cache.execute(4) for _ in range(3)]

    assert run(ask, cache) == [8, 8, 8]
    assert cache.stats().tasks["source"].verified == {"same": 2}


def test_costs_and_what_is_not_stored(source: Source, place: dict[str, Any]) -> None:
    cache = CachePrimitive(source, cost=lambda run: run / 2, store_if=lambda run: run > 1, **place)

    async def ask() -> list[Any]:
        return [await cache.execute("x") for _ in range(3)]

    assert run(ask, cache) == [1, 2, 2]
    stats = cache.stats().tasks["source"]
    assert (stats.run_cost, stats.saved_cost) == (1.5, 1.0)


def test_f1_without_redis_it_runs(source: Source, server_factory: Any) -> None:
    server: Server = server_factory()
    url = server.url()
    cache = CachePrimitive(source, name="source", backend="redis", redis_url=url)
    server.stop()

    async def ask() -> list[Any]:
        return [await cache.execute("x"), await cache.execute("x"), await cache.aget("x")]

    assert run(ask, cache) == [1, 2, MISSING]


def test_strictness_is_asked_for(source: Source, server_factory: Any) -> None:
    server: Server = server_factory()
    cache = CachePrimitive(
        source, name="source", backend="redis", redis_url=server.url(), on_error="raise"
    )
    server.stop()

    async def ask() -> None:
        for method in (cache.execute, cache.aget):
            with pytest.raises(CacheError, match="unavailable") as caught:
                await method("x")
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - ours
        with pytest.raises(CacheError, match="no canonical form"):
            await cache.execute(object())

    run(ask, cache)
    assert source.runs == 0


def test_a_plain_function_runs_in_a_thread() -> None:
    def double(data: int, _: Any) -> int:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return 2 * data

    cache = CachePrimitive(double)
    assert run(lambda: cache.execute(4)) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "disk"}, "backend='disk': must be 'memory' or 'redis'"),
        ({"backend": "redis", "name": "x"}, "redis_url=None: must be given"),
        ({"redis_url": "redis://localhost"}, "say backend='redis'"),
        ({"max_size": 0}, "max_size=0: must be a number of entries"),
        ({"ttl_seconds": -1}, "primitive '.*': ttl=-1: must be more than 0"),
        ({"store_if": 1}, "store_if=1: must be a callable"),
        ({"shape": 1}, "unknown option shape"),
        ({"on_error": "ignore"}, "on_error='ignore': must be 'run' or 'raise'"),
        ({"serializer": "yaml"}, "serializer='yaml': must be one of: json, pickle"),
        ({"primitive": 4}, "primitive=4: must be a callable"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CachePrimitive(**options)


def test_a_primitive_in_another(source: Source, redis_server: Server) -> None:
    shared = CachePrimitive(
        source, name="l2", backend="redis", redis_url=redis_server.url(), timeout=5.0
    )
    near = CachePrimitive(shared, ttl_seconds=60, max_size=10)

    async def ask() -> list[Any]:
        return [await near.execute("x"), await near.execute("x"), await shared.execute("x")]

    assert run(ask, shared, near) == [1, 1, 1]
    assert shared.stats().tasks["l2"].hits == {"direct/l1": 1}


def test_functions_are_decorated() -> None:
    runs: list[Any] = []

    @cached(ttl=60, key="{user}", tags=("user:{user}",), ignore=("log",))
    async def profile(user: str, *, size: int = 1, log: Any = None) -> tuple[str, int]:
        """What is known of a user."""
        runs.append(user)
        return user, size

    async def ask() -> None:
        assert await profile("a") == await profile(user="a", log=print) == ("a", 1)
        assert runs == ["a"]
        assert await profile.cache.get("a") == ("a", 1)
        await profile.cache.invalidate("a")
        assert await profile.cache.get("a") is MISSING
        await profile("b")
        await profile("b", size=2)
        await profile.cache.primitive.ainvalidate(tags=["user:b"])
        assert await profile.cache.get("b", size=2) is MISSING
        await profile.cache.set(("c", 9), "c")
        assert await profile("c") == ("c", 9)
        await profile.cache.clear()
        assert profile.cache.primitive.keys() == []

    run(ask)
    assert profile.__doc__ == "What is known of a user."
    with pytest.raises(ConfigurationError, match="make it an argument"):
        cached(vary=("tenant",))
    with pytest.raises(ConfigurationError, match="'sizes' is no argument"):
        cached(ignore=("sizes",))(profile.__wrapped__)  # type: ignore[attr-defined]


# Routes and fallbacks
