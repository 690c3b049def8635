"""Beat sends what is due, and does nothing else: handlers of a task would hold up all schedules."""

from collections.abc import Callable

import pytest
from celery.beat import ScheduleEntry, Scheduler

from tests.integration.harness import Harness
from tests.support.servers import Server

pytestmark = pytest.mark.one_server_kind


def test_f4_beat_sends_a_call_that_is_cached(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness]
) -> None:
    harness = new_harness(server_factory())
    task = harness.task("cached.add")
    task.cache.set(3, harness.tag, 1, 2)
    queue = harness.server.client(0)
    assert task.delay(harness.tag, 1, 2).cache_status.hit, "any other caller is answered"
    assert queue.llen("celery") == 0

    # No worker is there: what isn't answered stays in the queue.
    scheduler = Scheduler(app=harness.app, lazy=True)
    entry = ScheduleEntry(
        name="add", task=task.name, schedule=60, args=(harness.tag, 1, 2), app=harness.app
    )
    with harness.app.connection_for_write() as connection:
        producer = harness.app.amqp.Producer(connection, auto_declare=False)
        result = scheduler.apply_async(entry, producer=producer)

    assert not result.cache_status.hit
    assert queue.llen("celery") == 1
