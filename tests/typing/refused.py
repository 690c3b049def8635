"""What has to fail: each line that ends in ``# error`` and no other."""

from celery import Celery

from tta_taskcache import CachedTask, CachePrimitive, cached, cached_task

app = Celery("proj")


@cached_task(cache_ttl=60)
def add(x: int, y: int = 0) -> int:
    return x + y


add.delay(1, "2")  # error
add.delay(1, z=2)  # error
add.delay()  # error
add("1")  # error
add.cache.get("1")  # error
add.cache.get(1) + 1  # error
add.cache.call(1).upper()  # error
add.cache.set("3", 1, 2)  # error
add.cache.key(1, 2, 3)  # error
add.cache.lookup(1)  # error
add.delay(1).get().upper()  # error
add.delay(1).cache_state  # error
add.apply_async((1,), cache="reload")  # error
add.apply_async((1,), cache="revalidate")  # error
add.apply_async((1,), countdwon=3)  # error
add.s(1).set(cache="reload")  # error
add.s(1).set(countdwon=3)  # error
add.si("1")  # error
add.s(1, 2).delay().get().upper()  # error


@cached_task(cache_tll=60)  # error
def misspelt(x: int) -> int:
    return x


@cached_task(cache_ttl="60")  # error
def of_wrong_type(x: int) -> int:
    return x


@cached_task(cache_vary="tenant")  # error
def no_tuple(x: int) -> int:
    return x


@cached_task(cache_sites=("worker",))  # error
def nowhere(x: int) -> int:
    return x


@cached_task(base=int)  # error
def of_another_base(x: int) -> int:
    return x


class Report(CachedTask[[int], str]):
    cache_ttl = "60"  # error


Report().delay("7")  # error


@cached(ttl=60)
async def rate(currency: str) -> float:
    return 1.0


async def from_a_loop() -> None:
    await add.cache.acall("1")  # error
    (await add.cache.acall(1)).upper()  # error
    await rate(1)  # error


CachePrimitive(rate, backend="memcached")  # error
CachePrimitive(rate, ttl="60")  # error
