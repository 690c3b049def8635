"""A hit that the consumer leaves to the pool is answered there, whatever ``cache_sites`` says."""

from typing import Any

import pytest
from celery import Celery
from celery.app import trace

from tta_taskcache import CachedTask
from tta_taskcache.celery.calls.lookup_handoff import FOUND


@pytest.mark.parametrize(
    ("sites", "header", "runs"),
    [
        (("consumer",), {FOUND: True}, 0),
        (("consumer",), {}, 1),
        (("producer",), {FOUND: True}, 1),
        (("pool",), {}, 0),
    ],
)
def test_s2_a_hit_of_the_consumer_is_answered_in_the_pool(
    sites: tuple[str, ...], header: dict[str, Any], runs: int
) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    ran: list[int] = []

    @app.task(base=CachedTask, name="found", cache_sites=sites, shared=False)
    def found(number: int) -> str:
        ran.append(number)
        return "run"

    found.cache.set("stored", 1)
    run = trace.build_tracer(found.name, found, app=app)
    outcome = run("id", (1,), {}, {"taskcache": header, "args": (1,), "kwargs": {}})
    assert (outcome.retval, len(ran)) == ("run" if runs else "stored", runs)
