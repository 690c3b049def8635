"""K5: the refresh of a call is the same call, so its message has the same serializer."""

import pickle

import pytest
from celery import Celery

from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.calls.identification import request_of_message, request_of_sender

pytestmark = pytest.mark.one_server_kind


def test_k5_a_refresh_is_sent_with_the_serializer_of_its_call(redis_server: Server) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(accept_content=["json", "pickle"], task_default_queue="refreshes")
    runtime = TaskCache(app, url=redis_server.url(2), timeout=2.0).runtime
    options = {"cache_ttl": 0.1, "cache_stale_while_revalidate": 600}

    @app.task(base=CachedTask, name="f", shared=False, **options)
    def f(x: tuple[int, int]) -> str: ...

    call = request_of_sender(f, ((1, 2),), {}, {}, serializer="pickle").identified()
    position = runtime.run(runtime.engine.writer.position(call))
    fill = runtime.engine.writer.fill(call, position, "v", run_seconds=0.0, task_id=None)
    assert runtime.run(fill)

    def is_stale() -> bool:
        return bool(f.apply_async(((1, 2),), serializer="pickle").cache_status.stale)

    wait_until(is_stale, what="the end of its ttl")
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("refreshes")
    assert message.content_type == "application/x-python-serialize"
    args = pickle.loads(message.body)  # noqa: S301 - just sent
    assert args[0][0] == (1, 2), "a tuple, not a list"
    # A worker that finds it stale asks for its refresh in the same way.
    read = request_of_message(f, *args[:2], message.headers)
    assert (read.identified().key, read.serializer) == (call.key, "pickle")
    f.apply_async(("another",))
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("refreshes")
    assert "serializer" not in message.headers.get("taskcache", {})
