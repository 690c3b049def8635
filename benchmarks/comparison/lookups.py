"""Lookups in this process: a dict, a GET, other libraries, and ours by layer and payload."""

import asyncio
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from benchmarks.comparison.turns import Case, Row, by_turns, cost
from tests.support.servers import Server
from tta_taskcache.celery.api.task_cache import cache_of

GET, DICT = "redis-py GET", "locked dict"
DOGPILE = "dogpile.cache"
PAYLOADS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def peers(server: Server, value: Any) -> tuple[list[tuple[str, str, Callable[[], Any]]], list[str]]:
    """Other libraries' lookups of a stored value (name, layer, call), and what is missing."""
    found: list[tuple[str, str, Callable[[], Any]]] = []
    missing = []
    if importlib.util.find_spec("dogpile") is None:
        missing.append("dogpile.cache isn't installed")
    else:
        found += _dogpile(server, value)
    for name, make in {"cashews": _cashews, "aiocache": _aiocache}.items():
        if importlib.util.find_spec(name) is None:
            missing.append(f"{name} isn't installed")
        else:
            found.append(make(server, value))
    return found, missing


def _dogpile(server: Server, value: Any) -> list[tuple[str, str, Callable[[], Any]]]:
    from dogpile.cache import make_region  # noqa: PLC0415 - an optional peer

    memory = make_region().configure("dogpile.cache.memory")
    shared = make_region(
        serializer=lambda item: json.dumps(item).encode(), deserializer=json.loads
    ).configure(
        "dogpile.cache.redis", arguments={"url": server.url(4), "redis_expiration_time": 3600}
    )

    def wrapped(region: Any) -> Callable[[], Any]:
        function = region.cache_on_arguments()(_body(value))
        return lambda: function(7)

    return [(DOGPILE, "L1", wrapped(memory)), (DOGPILE, "L2", wrapped(shared))]


def _body(value: Any) -> Callable[[int], Any]:
    def body(number: int) -> Any:  # noqa: ARG001 - part of the key only
        return value

    return body


def _cashews(server: Server, value: Any) -> tuple[str, str, Callable[[], Any]]:
    from cashews import Cache  # noqa: PLC0415 - an optional peer

    cache = Cache()
    cache.setup(server.url(5))

    @cache(ttl="1h", key="n:{number}")
    async def body(number: int) -> Any:  # noqa: ARG001 - part of the key only
        return value

    loop = asyncio.new_event_loop()
    return "cashews (asyncio)", "L2", lambda: loop.run_until_complete(body(7))


def _aiocache(server: Server, value: Any) -> tuple[str, str, Callable[[], Any]]:
    from aiocache import Cache, cached  # noqa: PLC0415 - an optional peer
    from aiocache.serializers import JsonSerializer  # noqa: PLC0415 - likewise

    @cached(
        ttl=3600,
        cache=Cache.REDIS,
        endpoint="127.0.0.1",
        port=server.port,
        db=6,
        serializer=JsonSerializer(),
    )
    async def body(number: int) -> Any:  # noqa: ARG001 - part of the key only
        return value

    loop = asyncio.new_event_loop()
    return "aiocache (asyncio)", "L2", lambda: loop.run_until_complete(body(7))


@contextmanager
def without_l1(app: Celery) -> Iterator[None]:
    """Let lookups inside go to Redis."""
    entries = cache_of(app).runtime.engine.parts.l1.entries
    bound = entries.max_entries
    entries.clear()
    entries.max_entries = 0
    try:
        yield
    finally:
        entries.max_entries = bound


def run(server: Server, app: Celery, rounds: int) -> tuple[list[Row], list[str]]:
    """Measure lookups of 100 bytes, and of growing payloads from L2."""
    task = app.tasks["cached.text"]
    value = "x" * 100
    assert task.cache.set(value, 100)
    raw, lock, held = server.client(2), threading.Lock(), {"k": value}
    frame = _frame(server, task.cache.key(100))

    def from_dict() -> str:
        with lock:
            return held["k"]

    runtime = cache_of(app).runtime
    call = task.cache._call_request((100,), {}).identified()

    def look() -> Any:
        return runtime.run(runtime.engine.look(call, "direct"))

    def get() -> Any:
        return task.cache.get(100)

    others, missing = peers(server, value)
    l1 = [Case(DICT, from_dict, calls=300)]
    l1 += [Case(f"{n}, memory", c, DICT, 300) for n, layer, c in others if layer == "L1"]
    l1 += [Case("task.cache.get, L1", get, DICT, 300), Case("engine look, L1", look, DICT, 300)]
    rows = by_turns("lookup in memory", l1, rounds)

    l2 = [Case(GET, lambda: raw.get(frame))]
    l2 += [Case(f"{n}, Redis", c, GET) for n, layer, c in others if layer == "L2"]
    with without_l1(app):
        l2 += [Case("task.cache.get, L2", get, GET), Case("engine look, L2", look, GET)]
        shared = by_turns("lookup in Redis", l2, rounds)
        for row, case in zip(shared, l2, strict=True):
            row.extra |= cost(server, case.call)
        rows += shared
        rows += _payloads(server, app, max(3, rounds // 3))
    return rows, missing


def _payloads(server: Server, app: Celery, rounds: int) -> list[Row]:
    task, raw = app.tasks["cached.text"], server.client(2)
    rows = []
    for size in PAYLOADS:
        if not task.cache.set("x" * size, size):
            continue  # larger than ``taskcache_max_bytes`` allows
        frame = _frame(server, task.cache.key(size))
        calls = max(3, min(50, 10_000_000 // size))
        cases = [
            Case(f"GET of {size:,} B", lambda frame=frame: raw.get(frame), calls=calls),
            Case(
                f"task.cache.get of {size:,} B",
                lambda size=size: task.cache.get(size),
                f"GET of {size:,} B",
                calls,
            ),
        ]
        rows += by_turns("payload, from Redis", cases, rounds)
    return rows


def _frame(server: Server, key: str) -> bytes:
    """Name of an entry in Redis."""
    client: Any = server.client(2)
    digest = key.rsplit(":", 1)[-1]
    return next(name for name in client.scan_iter(f"*{digest}*", count=1_000))
