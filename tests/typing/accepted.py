"""What has to pass: README's way, and all that is public, with the types that come out."""

from collections.abc import Callable
from typing import Any, assert_type

from celery import Celery, chain
from celery.result import AsyncResult

from tta_taskcache import (
    MISSING,
    CachedTask,
    CachePrimitive,
    CacheStatus,
    Explanation,
    TaskCache,
    Warm,
    WorkflowContext,
    cached,
    cached_task,
)
from tta_taskcache.core.events import Event

app = Celery("proj", broker="redis://localhost/0", backend="redis://localhost/1")
events: list[Event] = []
cache = TaskCache(app, observers=[events.append, "sentry"])


@app.task(base=CachedTask, cache_ttl=3600, cache_vary=("tenant",), cache_tags=("user:{user_id}",))
def summarize(user_id: str, text: str, *, model: str = "small") -> dict[str, str]:
    return {"summary": text[:20], "model": model, "user": user_id}


with cache.context(tenant="acme"):
    again = summarize.delay("u42", text="Once upon a time")
    print(again.get(), again.cache_status)
    print(summarize.cache.explain("u42", "Twice upon a time"))
cache.invalidate(tags=["user:u42"])


@cached_task
def bare(x: int) -> str:
    return str(x)


@cached_task(app=app, name="proj.add", cache_ttl=60, cache_sites=("pool",), max_retries=3)
def add(x: int, y: int = 0) -> int:
    return x + y


@cached_task(bind=True, cache_warm=Warm(every=60, hot=10), cache_errors={KeyError: 30})
def bound(self: CachedTask[..., Any], x: int) -> list[int]:
    print(self.request.id)
    return [x]


class Report(CachedTask[[int], str]):
    name = "proj.report"
    cache_ttl = 60

    def run(self, number: int) -> str:
        return str(number)


class Preset(CachedTask):
    abstract = True
    cache_ttl = 3600


@cached_task(base=Preset)
def preset(x: int) -> int:
    return x


class Daily(CachedTask[..., Any]):
    abstract = True
    cache_ttl = 86_400
    cache_tags = ("daily",)


@cached_task(base=Daily, cache_ttl=60)
def daily(day: str) -> float:
    return float(day)


assert_type(add(1, 2), int)
assert_type(add.delay(1, y=2).get(), int)
assert_type(add.delay(1).cache_status, CacheStatus)
assert_type(add.apply_async((1, 2), cache="only", countdown=3.0).get(), int)
assert_type(add.cache.call(1, 2), int)
assert_type(add.cache.key(1), str)
assert_type(add.cache.explain(1), Explanation)
assert_type(bare.cache.call(1), str)
assert_type(bound.delay(1).get(), list[int])
assert_type(Report().delay(7).get(), str)
assert_type(daily.cache.call("1"), float)

found = add.cache.get(1, 2)
if found is not MISSING:
    assert_type(found, int)
add.cache.set(3, 1, 2)
add.cache.invalidate(1, 2)
add.cache.warm([[1, 2]], rate=10)
result: AsyncResult[int] = add.delay(1)
task: Callable[[int, int], int] = add
chain(add.s(1), add.s(2))
chain(add.s(1) | add.si(2, 3)).delay()
assert_type(add.s(1, 2).set(cache="refresh", queue="slow").delay().get(), int)
assert_type(add.si(1, 2).apply_async().cache_status, CacheStatus)
assert_type(preset.delay(1).get(), int)


@cached(ttl=60, tags=("rates",))
async def rate(currency: str) -> float:
    return 1.0


async def ask(data: str, context: WorkflowContext) -> str:
    return data


async def from_a_loop() -> None:
    assert_type(await add.cache.acall(1, 2), int)
    stored = await add.cache.aget(1, 2)
    if stored is not MISSING:
        assert_type(stored, int)
    assert_type(await rate("eur"), float)
    async with CachePrimitive(
        ask, ttl_seconds=60, backend="redis", redis_url="redis://"
    ) as primitive:
        await primitive.execute("x", WorkflowContext(user_id="u"))
    await cache.ainvalidate(tags=["rates"])
