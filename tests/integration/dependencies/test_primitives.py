"""Primitives, and tasks in them and around them, end with the answers that they took (D1)."""

from typing import Any

import pytest
from celery import Celery

from tests.support.servers import Server
from tests.unit.aio.running import run
from tta_taskcache import MISSING, CachedTask, CachePrimitive, TaskCache, cache_control

pytestmark = pytest.mark.one_server_kind


class Chain:
    """A report of a summary of a user, each a primitive of its own on one Redis."""

    def __init__(self, url: str, other_url: str | None = None) -> None:
        self.runs = {"user": 0, "summary": 0, "report": 0}

        async def user(data: str, _: Any) -> int:
            self.runs["user"] += 1
            cache_control(tags=[f"row:{data}"])
            return self.runs["user"]

        async def summary(data: str, _: Any) -> str:
            self.runs["summary"] += 1
            return f"summary of {await self.user.execute(data)}"

        def report(data: str, _: Any) -> str:
            self.runs["report"] += 1
            return f"report of {self.summary.get(data) or 'nothing'}"

        place: Any = {"backend": "redis", "timeout": 5.0, "l1_max_staleness": 0.0}
        self.user = CachePrimitive(
            user, name="user", key_fn=lambda data, _: data, tags=lambda data, _: [f"user:{data}"],
            redis_url=other_url or url, **place,
        )  # fmt: skip
        self.summary = CachePrimitive(summary, name="summary", redis_url=url, **place)
        self.report = CachePrimitive(report, name="report", redis_url=url, **place)
        self.all = (self.user, self.summary, self.report)


@pytest.mark.parametrize(
    "ends",
    [{"tags": ["user:1"]}, {"tags": ["row:1"]}, {"key": "1"}, {"pattern": "*"}],
)
@pytest.mark.parametrize("has_another_name", [False, True])
def test_d1_nested_primitives(
    redis_server: Server, ends: dict[str, Any], has_another_name: bool
) -> None:
    url = redis_server.url()
    assert "127.0.0.1" in url
    other = url.replace("127.0.0.1", "localhost") if has_another_name else None
    chain = Chain(url, other)

    async def ask() -> None:
        for _ in range(2):
            assert await chain.summary.execute("1") == "summary of 1"
            assert await chain.report.execute("1") == "report of summary of 1"
        await chain.user.ainvalidate(**ends)
        assert await chain.report.aget("1") is MISSING
        assert await chain.summary.execute("1") == "summary of 2"
        assert await chain.report.execute("1") == "report of summary of 2"
        assert chain.runs == {"user": 2, "summary": 2, "report": 2}

    run(ask, *chain.all)


def test_d1_tasks_and_primitives_of_one_place(redis_server: Server) -> None:
    url = redis_server.url()
    app = Celery(set_as_current=False, broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True
    cache = TaskCache(app, url=url, l1_max_staleness=0.0, timeout=5.0)

    @app.task(base=CachedTask, shared=False, name="user", cache_tags=("user:{number}",))
    def user(number: int) -> int:
        return number

    async def body(data: int, _: Any) -> Any:
        return await user.cache.aget(data) or user.cache.call(data)

    report = CachePrimitive(
        body, name="report", backend="redis", redis_url=url, l1_max_staleness=0.0, timeout=5.0
    )

    async def ask() -> None:
        for _ in range(2):  # once of a run, and once of a hit in the loop
            assert await report.execute(7) == 7
            await report.ainvalidate(pattern="*")
        assert await report.execute(7) == 7
        await cache.ainvalidate(tags=["user:7"])
        assert await report.aget(7) is MISSING
        await cache.aclose()

    run(ask, report)


def test_d1_answers_of_another_log_are_no_dependencies(redis_server: Server) -> None:
    chain = Chain(redis_server.url(0), redis_server.url(1))

    async def ask() -> None:
        assert await chain.summary.execute("1") == "summary of 1"
        await chain.user.ainvalidate(tags=["user:1"])
        assert await chain.summary.execute("1") == "summary of 1"

    run(ask, *chain.all)
    assert chain.summary.stats().tasks["summary"].fills == {"stored": 1}
