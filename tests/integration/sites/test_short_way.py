"""Hits at the producer that nobody watches take the short way, and can't be told from others."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, Task, group, signals
from celery.app import trace

from tests.support.counting import commands, round_trips
from tests.support.servers import Server
from tta_taskcache import CachedTask
from tta_taskcache.celery.patches.tracing.trace_effects import UNHEARD


@pytest.fixture
def app(redis_server: Server) -> Celery:
    app = Celery("short", broker="memory://", set_as_current=False)
    app.conf.update(result_backend=redis_server.url(1), taskcache_url=redis_server.url(2))
    app.conf.taskcache_l1_max_staleness = 3600.0
    return app


@pytest.fixture
def task(app: Celery) -> Any:
    @app.task(name="add", base=CachedTask, shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    app.finalize()
    made = app.tasks["add"]  # and no proxy of it
    made.cache.set(3, 1, 2)
    assert made.delay(1, 2).get() == 3  # makes all that is made once
    return made


def stored(server: Server, task_id: str) -> dict[str, Any]:
    """What the backend holds of a call."""
    meta: dict[str, Any] = json.loads(server.client(1).get(f"celery-task-meta-{task_id}"))
    return meta


def is_short(server: Server, call: Callable[[], Any]) -> bool:
    """Whether a hit is stored by one command, and is as good as any."""
    with commands(server) as counted:
        result = call()
    assert result.cache_status.hit
    assert result.get(timeout=5) == 3
    return "publish" not in counted and "get" not in counted


def test_a_hit_costs_one_command(redis_server: Server, task: Any) -> None:
    with commands(redis_server) as counted:
        result = task.delay(1, 2)
    assert dict(counted) == {"set": 1}
    with round_trips(redis_server) as trips:
        task.delay(1, 2)
    assert trips.count == 1
    assert result.get() == 3


def test_both_ways_store_the_same(redis_server: Server, task: Any) -> None:
    options = {"parent_id": "p", "group_id": "g", "root_id": "r"}
    short = task.apply_async((1, 2), **options)
    with heard(signals.task_success):
        long = task.apply_async((1, 2), **options)
    first, second = stored(redis_server, short.id), stored(redis_server, long.id)
    for meta in (first, second):
        assert meta.pop("date_done")
        assert meta.pop("task_id")
    assert first == second
    assert (first["parent_id"], first["group_id"]) == ("p", "g")
    assert short.cache_status == long.cache_status or short.cache_status.hit


@contextmanager
def heard(signal: Any, **marks: Any) -> Iterator[list[str]]:
    """A receiver of the user's, for a while."""
    ids: list[str] = []

    def receive(sender: Any = None, **_: Any) -> None:
        ids.append(sender.request.id)

    vars(receive).update(marks)
    signal.connect(receive, weak=False)
    try:
        yield ids
    finally:
        signal.disconnect(receive)


@pytest.mark.parametrize("name", ["task_prerun", "task_success", "task_postrun"])
def test_a_receiver_that_comes_later_is_called(redis_server: Server, task: Any, name: str) -> None:
    assert is_short(redis_server, lambda: task.delay(1, 2))
    with heard(getattr(signals, name)) as ids:
        assert not is_short(redis_server, lambda: task.delay(1, 2))
        assert len(ids) == 1
    assert is_short(redis_server, lambda: task.delay(1, 2))
    with heard(getattr(signals, name), **{UNHEARD: True}) as ids:
        assert is_short(redis_server, lambda: task.delay(1, 2))
        assert not ids


@pytest.mark.parametrize("name", ["before_start", "on_success", "after_return"])
def test_a_handler_that_comes_later_is_called(redis_server: Server, task: Any, name: str) -> None:
    assert is_short(redis_server, lambda: task.delay(1, 2))
    called: list[str] = []
    setattr(type(task), name, lambda *_: called.append(name))
    vars(task).pop("_taskcache_tracer", None)
    assert not is_short(redis_server, lambda: task.delay(1, 2))
    assert called == [name]


def test_an_instrumentation_that_comes_later_takes_it_back(
    redis_server: Server, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = trace.build_tracer

    def instrumented(*args: Any, **kwargs: Any) -> Any:
        return built(*args, **kwargs)

    monkeypatch.setattr(trace, "build_tracer", instrumented)
    assert not is_short(redis_server, lambda: task.delay(1, 2))
    monkeypatch.undo()
    assert is_short(redis_server, lambda: task.delay(1, 2))
    call = type(task).__call__

    def spied(self: Task, *args: Any, **kwargs: Any) -> Any:
        return call(self, *args, **kwargs)

    vars(spied).update(vars(call))  # as functools.wraps does
    monkeypatch.setattr(type(task), "__call__", spied)
    assert not is_short(redis_server, lambda: task.delay(1, 2))


def test_options_with_an_effect_take_the_long_way(redis_server: Server, task: Any) -> None:
    link = task.s(5).set(ignore_result=True)
    for options in (
        {"link": link},
        {"link_error": link},
        {"chain": [link]},
        {"task_id": "of-the-callers"},
        {"stamped_headers": ["s"], "s": 1},
    ):
        assert not is_short(redis_server, lambda o=options: task.apply_async((1, 2), **o))


def test_a_result_that_is_ignored_costs_no_command(redis_server: Server, task: Any) -> None:
    with commands(redis_server) as counted:
        assert task.apply_async((1, 2), ignore_result=True).cache_status.hit
    assert not counted


def test_the_log_has_its_line(task: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "celery.app.trace"):
        short = task.delay(1, 2)
        with heard(signals.task_success):
            vars(task).pop("_taskcache_tracer", None)
            long = task.delay(1, 2)
    lines = [record.getMessage() for record in caplog.records if "succeeded" in record.message]
    first, second = (
        line.replace(result.id, "").split(" in ")[0]
        for line, result in zip(lines, (short, long), strict=True)
    )
    assert first == second


def test_a_group_is_stored_together(redis_server: Server, task: Any) -> None:
    made = group(task.s(1, 2) for _ in range(40))
    with commands(redis_server) as counted:
        result = made.apply_async()
    assert counted["set"] == counted["publish"] == 40
    assert counted["mget"] == counted["exec"] == 1
    assert not counted["subscribe"]
    assert result.get(timeout=5) == [3] * 40
    for each in result.results:
        assert stored(redis_server, each.id)["group_id"] == result.id


def test_a_backend_that_fails_fails_as_ever(
    redis_server: Server, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = type(task.backend.client)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(client, "set", refuse)
    result = task.delay(1, 2)
    assert stored(redis_server, result.id)["result"] == 3
