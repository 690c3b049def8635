"""What a hostile review found."""

import logging
import threading
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, Task

from tests.integration.benches import Bench
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.core.events import Lookup
from tta_taskcache.observability.counters import Counters

pytestmark = pytest.mark.one_server_kind


@pytest.mark.parametrize("how", ["by name", "through a plain task"])
def test_k3_a_header_of_the_call_beats_the_ambient_one_however_it_is_sent(
    bench: Bench, worker: Worker, how: str
) -> None:
    with bench.cache.context(tenant="acme"):
        headers = {"tenant": "other"}
        if how == "by name":
            sent = bench.app.send_task("tenant.of", (bench.tag,), headers=headers)
            assert sent.get(timeout=20) == f"{bench.tag}@other"
        else:
            parent = bench.task("tenant.parent").apply_async((bench.tag,), headers=headers)
            child = bench.app.AsyncResult(parent.get(timeout=20))
            assert child.get(timeout=20) == f"{bench.tag}@other"
        assert bench.task("tenant.of").delay(bench.tag).get(timeout=20) == f"{bench.tag}@acme"


def test_disabled_holds_for_what_is_sent_by_name(bench: Bench, worker: Worker) -> None:
    bench.task("cached.add").delay(bench.tag, 1).get(timeout=20)
    with bench.cache.disabled():
        bench.app.send_task("cached.add", (bench.tag, 1)).get(timeout=20)
    assert bench.runs("add", bench.tag, 1, 0) == 2


def test_s2_a_handler_that_rejects_completes_a_call_once(bench: Bench, worker: Worker) -> None:
    task = bench.task("rejecting")
    task.cache.set(bench.tag, bench.tag)
    task.apply_async((bench.tag,), link=bench.task("note").s(bench.tag)).get(timeout=20)
    wait_until(lambda: bench.counts.llen(f"notes:{bench.tag}") >= 1, what="the callback")
    for x in range(4):  # the pool has done what it was given before
        bench.task("plain.add").delay(bench.tag, x).get(timeout=20)
    assert bench.counts.llen(f"notes:{bench.tag}") == 1


def test_s1_a_hit_inside_a_task_is_announced_as_eager(bench: Bench, worker: Worker) -> None:
    """Celery's Django fixup closes the connections, of the task that asks, for any other."""
    bench.task("cached.add").cache.set(1, bench.tag, 1)
    seen = bench.task("asks").delay(bench.tag).get(timeout=20)
    assert seen == [["cached.add", True], ["cached.add", True]]


def local_app(**conf: Any) -> tuple[Celery, TaskCache]:
    app = Celery("review", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(conf)
    return app, TaskCache(app)


def test_s1_the_answer_is_not_in_the_headers() -> None:
    app, _ = local_app()
    seen: list[Any] = []

    class Base(CachedTask):
        abstract = True

        def on_success(self, *_: Any) -> None:
            seen.append(self.request.headers)

    @app.task(base=Base)
    def double(x: int) -> int:
        return 2 * x

    double.cache.set(4, 2)
    assert double.delay(2).get() == 4
    assert "taskcache_answer" not in (seen[0] or {})


def test_f3_the_soft_limit_of_the_task_that_asks_is_not_lost_in_a_hit() -> None:
    app, _ = local_app()

    class Base(CachedTask):
        abstract = True

        def before_start(self, *_: Any) -> None:
            raise SoftTimeLimitExceeded  # a signal: it may strike anywhere in here

    @app.task(base=Base)
    def double(x: int) -> int:
        return 2 * x

    double.cache.set(4, 2)
    with pytest.raises(SoftTimeLimitExceeded):
        double.delay(2)


def test_a_task_that_passes_its_headers_on_does_not_pass_its_mode_on() -> None:
    app, _ = local_app()

    @app.task(base=CachedTask)
    def double(x: int) -> int:
        return 2 * x

    double.cache.set(4, 2)
    headers = {"taskcache": {"mode": "refresh"}}  # as in request.headers of a refreshed call
    assert double.apply_async((2,), headers=headers).cache_status.hit


def test_arguments_that_do_not_fit_are_no_fault_of_the_cache(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, cache = local_app()

    @app.task(base=CachedTask)
    def double(x: int) -> int:
        return 2 * x

    with caplog.at_level(logging.WARNING, "tta_taskcache"), pytest.raises(TypeError):
        double.delay(1, 2, 3)
    assert "fault" not in caplog.text
    assert cache.stats().faults == 0


def test_f3_counters_do_not_grow_with_threads_that_have_ended() -> None:
    counters = Counters()
    for _ in range(200):
        thread = threading.Thread(target=counters, args=(Lookup("t", "k", "pool", None, "absent"),))
        thread.start()
        thread.join()
    assert counters.totals() == {"miss|pool|absent|t": 200}
    assert len(counters._threads) < 20


@pytest.mark.parametrize(
    "url",
    [
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE",
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_REQUIRED",
        "redis+socket:///nowhere/redis.sock?virtual_host=3",
    ],
)
def test_any_redis_url_that_celery_takes_for_results_is_taken(url: str) -> None:
    app = Celery("review", broker="memory://", backend=url, set_as_current=False)
    assert app.backend.connparams  # Celery takes it
    store = TaskCache(app).runtime.store.store
    pool = store.client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert connection.db == app.backend.connparams["db"]
    if "ssl" in url:
        assert connection.cert_reqs == app.backend.connparams["ssl_cert_reqs"]


@pytest.mark.skipif(
    not hasattr(Task, "_dump_pydantic_arguments"), reason="Celery takes models since 5.7"
)
def test_the_handle_takes_models_as_the_task_does() -> None:
    pydantic = pytest.importorskip("pydantic")
    app, _ = local_app()

    class Order(pydantic.BaseModel):
        number: int

    def price(order: Any) -> int:
        return order.number

    price.__annotations__ = {"order": Order, "return": int}
    task = app.task(base=CachedTask, pydantic=True, name="price")(price)
    assert task.cache.key(Order(number=1)) == task.cache.key({"number": 1})
