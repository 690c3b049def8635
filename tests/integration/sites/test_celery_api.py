"""Celery's own interface, where tasks are cached: what its tests expect of it (S4, S7)."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.app.control import Control, Inspect
from celery.worker.control import Panel

from tests.support.servers import Server
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.worker import control
from tta_taskcache.celery.worker.rate_limits import RateLimits

pytestmark = pytest.mark.one_server_kind


def double(x: int) -> int:
    return 2 * x


@pytest.mark.parametrize("arguments", [(1,), (double, True), (object(),)])
def test_s4_what_is_no_task_is_said_as_celery_does(arguments: tuple[Any, ...]) -> None:
    app = Celery(broker="memory://", set_as_current=False, task_cls=CachedTask)
    with pytest.raises(TypeError):
        app.task(*arguments)


def test_s7_what_is_put_in_place_of_send_task_stays_there() -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    task = app.task(name="double", base=CachedTask, shared=False)(double)
    sent: list[str] = []

    def send_task(name: str, *_: Any, **__: Any) -> Any:
        sent.append(name)
        return app.AsyncResult("1")

    app.send_task = send_task
    task.delay(1)
    assert app.send_task is send_task
    assert sent == ["double"]


def test_k3_context_travels_after_send_task_was_replaced_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_default_queue = "send_task was replaced"  # all apps of a process share the broker
    with monkeypatch.context() as patched:
        patched.setattr(app, "send_task", lambda *_, **__: app.AsyncResult("1"))
        cache = TaskCache(app)
        options = {"cache_vary": ("tenant",), "ignore_result": True}
        task = app.task(name="double", base=CachedTask, shared=False, **options)(double)
        task.delay(1)
    with cache.context(tenant="acme"):
        task.delay(1)
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(app.conf.task_default_queue)
    assert message.headers["taskcache"]["ctx"] == {"tenant": "acme"}


def test_s7_each_command_of_remote_control_has_a_method() -> None:
    ours = [name for name in Panel.meta if "taskcache" in name]
    assert control.__name__
    assert sorted(ours) == ["taskcache", "taskcache_disable", "taskcache_enable"]
    for name in ours:
        kind = Inspect if Panel.meta[name].type == "inspect" else Control
        assert hasattr(kind, name)


def test_s7_tokens_of_other_tasks_are_taken_as_celery_does() -> None:
    consumer = SimpleNamespace(_limit_task=print, _limit_move_to_pool=print)
    site: Any = None
    RateLimits(consumer, site)
    assert consumer._limit_move_to_pool is print


def test_s4_a_hit_tells_of_itself_what_its_backend_would(redis_server: Server) -> None:
    app = Celery(broker="memory://", backend=redis_server.url(1), set_as_current=False)
    app.conf.result_extended = True
    TaskCache(app, url=redis_server.url(2))
    task = app.task(name="double", base=CachedTask, shared=False)(double)
    task.cache.set(4, 2)
    result = task.delay(2)
    assert result.cache_status.hit
    stored = app.AsyncResult(result.id)
    for told in (result, stored):
        assert told.get() == 4
        assert (told.name, told.args, told.kwargs, told.retries) == ("double", [2], {}, 0)
        assert told.date_done is not None
        assert told.worker is not None
    assert result.worker == stored.worker
