"""K5, S7: what identifies a call is what its body gets, and only the own app's messages say it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.workers import Worker
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.calls.identification import request_of_message, request_of_sender

pytestmark = pytest.mark.one_server_kind


def test_k5_a_header_twice_with_two_values_means_no_key(harness: Harness, worker: Worker) -> None:
    """A sender without the library hands on the headers of tenant A's message, with its own."""
    conf = harness.app.conf
    plain = Celery(broker=conf.broker_url, backend=conf.result_backend, set_as_current=False)
    received = {"tenant": "a", "taskcache": {"ctx": {"tenant": "a"}}}
    sent = plain.send_task("tenant.of", (harness.tag,), headers={**received, "tenant": "b"})
    assert sent.get(timeout=20) == f"{harness.tag}@b"
    with harness.cache.context(tenant="a"):
        assert harness.task("tenant.of").delay(harness.tag).get(timeout=20) == f"{harness.tag}@a"
    misses = harness.cache.stats().tasks["tenant.of"].misses
    assert misses["pool/conflicting-context"] == 1


@pytest.fixture
def eager(redis_server: Server) -> Iterator[Celery]:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    app.conf.accept_content = ["json", "pickle"]
    TaskCache(app, url=redis_server.url(2), timeout=2.0)
    yield app
    app.close()


@pytest.mark.parametrize("first", ["message", "call"])
def test_k5_a_direct_call_computes_with_what_a_message_carries(eager: Celery, first: str) -> None:
    @eager.task(base=CachedTask, name="price", shared=False)
    def price(table: dict[Any, str]) -> str:
        return table.get("1", "unknown")

    ways = [lambda: price.delay({1: "9.99"}).get(), lambda: price.cache.call({1: "9.99"})]
    if first == "call":
        ways.reverse()
    assert [way() for way in ways] == ["9.99", "9.99"]
    assert len(TaskCache(eager).keys()) == 1, "they share an entry"


def test_k5_what_no_message_carries_is_a_direct_call_of_its_own(eager: Celery) -> None:
    @eager.task(base=CachedTask, name="kind", shared=False)
    def kind(x: Any) -> str:
        return type(x).__name__

    assert [kind.cache.call(x) for x in ({1}, frozenset({1}), [1])] == ["set", "frozenset", "list"]
    assert kind.apply(((1,),)).get() == "tuple"
    assert kind.delay((1,)).get() == "list"


def test_k5_the_serializer_of_a_call_counts(eager: Celery) -> None:
    @eager.task(base=CachedTask, name="kind", shared=False)
    def kind(x: Any) -> None: ...

    def key(x: Any, serializer: str | None = None) -> str:
        return request_of_sender(kind, (x,), {}, {}, serializer=serializer).identified().key

    assert key((1,)) == key([1]) == key([1], "pickle") != key((1,), "pickle")
    assert key((1,), "pickle") == request_of_message(kind, ((1,),), {}, None).identified().key


def test_k5_functions_of_the_policy_get_arguments_as_the_body_does(eager: Celery) -> None:
    @eager.task(base=CachedTask, name="shown", shared=False, cache_key=str)
    def shown(x: Any) -> None: ...

    sender = request_of_sender(shown, ((1, 2),), {}, {}).identified()
    assert sender == request_of_message(shown, ([1, 2],), {}, None).identified()


MODEL = """
import warnings; warnings.simplefilter("ignore")
from celery import Celery
from pydantic import BaseModel
from tta_taskcache import CachedTask
app = Celery(set_as_current=False)

class Ask(BaseModel):
    id: int
    tags: set[str] = set()

@app.task(base=CachedTask, name="ask", pydantic=True, shared=False)
def ask(ask: Ask) -> int:
    return ask.id

print(ask.cache.key(Ask(id=1, tags={"a", "b", "c", "d"})), ask.cache.key(Ask(id=1, tags={"a"})))
"""


def test_k5_a_models_set_has_no_order() -> None:
    pytest.importorskip("pydantic")
    keys = {
        subprocess.run(
            [sys.executable, "-c", MODEL],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(keys) == 1
    one, other = keys.pop().split()
    assert one != other


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_s4_a_naive_expires_is_read_as_the_worker_reads_it(
    redis_server: Server, in_new_york: None
) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    TaskCache(app, url=redis_server.url(2), timeout=2.0)

    @app.task(base=CachedTask, name="f", shared=False)
    def f(x: int) -> None: ...

    f.cache.set("stored", 1)
    utc = datetime.now(UTC).replace(tzinfo=None)  # a naive one, as Celery takes it
    assert not f.apply_async((1,), expires=utc - timedelta(hours=1)).cache_status.hit
    assert f.apply_async((1,), expires=utc + timedelta(hours=1)).cache_status.hit


def test_s7_another_apps_messages_carry_no_context() -> None:
    app = Celery("mine", broker="memory://", set_as_current=False)
    other = Celery("partner", broker="memory://partner", set_as_current=False)
    cache = TaskCache(app)

    @app.task(base=CachedTask, name="f", cache_vary=("tenant",), shared=False)
    def f() -> None: ...

    app.finalize()
    with cache.context(tenant="acme", user="u1"):
        other.send_task("partner.task", queue="partners")
        app.send_task("f", queue="mine")
    with app.connection_for_read() as connection:  # what is in memory, all apps share
        sent = [connection.default_channel.basic_get(queue) for queue in ("partners", "mine")]
    headers = [{name: each.headers.get(name) for name in ("tenant", "user")} for each in sent]
    assert headers == [{"tenant": None, "user": None}, {"tenant": "acme", "user": "u1"}]
