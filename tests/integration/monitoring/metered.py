"""The application of the tests of metrics, and a script of calls whose numbers are known.

`python -m tests.integration.monitoring.metered PORT WORKERS` makes the calls as a web process
would, then serves prometheus_client's default registry on PORT; its worker serves on the other.
With `traffic` instead of ports it makes calls of all kinds, until it is stopped.
"""

import itertools
import json
import os
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any

import prometheus_client
import redis
from celery import Celery

from tests.integration.monitoring.scraping import scrape
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.calls import lookup_handoff

PATIENCE = 30
WORK = 0.2

# On a busy machine a message takes long, and a site would look again: here it never does.
lookup_handoff.HANDOFF_VALID_FOR = 60.0

app = Celery("tests.integration.monitoring.metered", set_as_current=False)
app.conf.update(
    broker_url=os.environ["CELERY_BROKER_URL"],
    result_backend=os.environ["CELERY_RESULT_BACKEND"],
    taskcache_url=os.environ["TASKCACHE_URL"],
    taskcache_timeout=5.0,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=8,
)
app.conf.update(json.loads(os.environ.get("APP_CONF", "{}")))
redis_client = redis.Redis.from_url(os.environ["TASKCACHE_URL"], socket_timeout=PATIENCE)
cached = partial(app.task, base=CachedTask, shared=False)


def priced(number: int) -> int:
    time.sleep(WORK)
    return number


everywhere = cached(name="everywhere", cache_cost=2.5, cache_tags=("all",))(priced)
in_pool = cached(name="in_pool", cache_cost=lambda n: n / 2, cache_sites=("pool",))(priced)
in_consumer = cached(name="in_consumer", cache_cost=1, cache_sites=("consumer",))(priced)
shadowed = cached(name="shadowed", cache_cost=4, cache_shadow=True)(priced)
verified = cached(name="verified", cache_verify=1.0)(priced)
verified_late = cached(name="late", cache_verify=1.0, cache_sites=("consumer",))(priced)


@cached(name="meeting", cache_sites=("pool",))
def meeting(name: str, mine: int) -> int:
    """Returns when there are two of them: each is in a process of its own."""
    redis_client.rpush(f"met:{name}:{1 - mine}", "here")
    assert redis_client.blpop([f"met:{name}:{mine}"], timeout=PATIENCE)
    return os.getpid()


@cached(name="leading", cache_cost=7, cache_sites=("consumer",))
def leading(name: str) -> str:
    """Goes on when it is told to."""
    redis_client.rpush(f"leads:{name}", "yes")
    assert redis_client.blpop([f"go:{name}"], timeout=PATIENCE)
    return name


@cached(name="impure", cache_verify=1.0)
def impure(name: str) -> dict[str, Any]:
    return {"name": name, "run": redis_client.incr(f"runs:{name}"), "same": [1, 2]}


@cached(name="odd", cache_cost=lambda _: "much", cache_if=lambda _: False)
def odd(name: str) -> str:
    return name


@cached(name="large", cache_max_bytes=10)
def large(number: int) -> str:
    return "x" * 100 + str(number)


@cached(name="failing", cache_ttl=0.1, cache_stale_if_error=600)
def failing(tag: str) -> str:
    if redis_client.incr(f"tries:{tag}") > 1:
        raise ConnectionError("the source is down")
    return tag


@cached(name="revalidated", cache_ttl=0.1, cache_stale_while_revalidate=600)
def revalidated(tag: str) -> str:
    return tag


def get(task: Any, *args: Any) -> Any:
    return task.delay(*args).get(timeout=PATIENCE)


def script(port: int) -> None:
    """The calls. What they count is in `test_metrics.EXPECTED…`."""
    assert [get(everywhere, 1) for _ in range(4)] == [1] * 4
    assert [get(in_pool, 3) for _ in range(3)] == [3] * 3
    assert [get(in_consumer, 5) for _ in range(3)] == [5] * 3
    together = [meeting.delay("a", mine) for mine in (0, 1)]
    assert len({each.get(timeout=PATIENCE) for each in together}) == 2
    follow(port)
    assert [get(shadowed, 1) for _ in range(3)] == [1] * 3
    assert [get(verified, 1) for _ in range(3)] == [1] * 3
    assert [get(verified_late, 1) for _ in range(3)] == [1] * 3
    assert [get(impure, "b")["run"] for _ in range(3)] == [1, 2, 3]
    assert get(odd, "c") == "c"
    everywhere.cache.set(9, 9)
    TaskCache(app).invalidate(tags=["all"])
    assert [everywhere.cache.get(number) for number in (1, 9)] == [everywhere.cache.get(2)] * 2


def follow(port: int) -> None:
    """One leads, and two wait for it."""
    leader = leading.delay("d")
    assert redis_client.blpop(["leads:d"], timeout=PATIENCE)
    waiting = [leading.delay("d") for _ in range(2)]
    wait_until(lambda: scrape(port)["taskcache_followers", ()] == 2, timeout=PATIENCE)
    redis_client.rpush("go:d", "go")
    assert [each.get(timeout=PATIENCE) for each in (leader, *waiting)] == ["d"] * 3


def traffic() -> None:
    """Calls of all kinds, for ever: something happens to each metric."""
    for number in itertools.count():
        calls = [(everywhere, 1), (in_pool, 1), (in_consumer, 1), (shadowed, 1), (verified, 1)]
        calls += [(impure, "x"), (odd, "x"), (large, number), (failing, "x"), (revalidated, "x")]
        results = [task.delay(argument) for task, argument in calls]
        leaders = [in_consumer.delay(100 + number) for _ in range(3)]
        TaskCache(app).invalidate(key=in_pool.cache.key(1))
        with suppress(Exception):  # a test takes servers away
            for result in [*results, *leaders]:
                result.get(timeout=PATIENCE)


if __name__ == "__main__":
    TaskCache(app)
    if sys.argv[1] == "traffic":
        traffic()
    script(int(sys.argv[2]))
    prometheus_client.start_http_server(int(sys.argv[1]), addr="127.0.0.1")
    sys.stdout.write("script is done\n")
    sys.stdout.flush()
    for _ in itertools.count():
        time.sleep(1)
