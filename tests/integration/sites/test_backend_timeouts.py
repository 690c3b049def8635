"""S7: a user's own results have the timeouts that the user has set, in every pool."""

from collections.abc import Callable

import pytest
from celery import Celery

from tests.support.servers import Server
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
def test_s7_tasks_see_the_timeouts_of_the_user(
    server_factory: Callable[..., Server], pool: str
) -> None:
    server = server_factory()  # workers of other tests don't know the task
    broker, backend = server.url(0), server.url(1)
    env = {"CELERY_BROKER_URL": broker, "CELERY_RESULT_BACKEND": backend}
    env["TASKCACHE_URL"] = server.url(2)
    caller = Celery(broker=broker, backend=backend, set_as_current=False)
    with Worker("tests.integration.sites.timeouts_app", env=env, pool=pool):
        assert caller.send_task("timeouts").get(timeout=20) == [30.0, 20.0]
