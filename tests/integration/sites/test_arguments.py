"""K5: the key is made of what the body gets, with a worker that has made its own."""

from collections.abc import Callable, Iterator

import pytest
from celery import Celery

from tests.integration.sites import arguments_app
from tests.integration.sites.arguments_app import Money, make_app
from tests.support.servers import Server
from tests.support.workers import Worker
from tta_taskcache import TaskCache

pytestmark = pytest.mark.one_server_kind

PATIENCE = 20


@pytest.fixture
def caller(server_factory: Callable[..., Server]) -> Iterator[Celery]:
    server = server_factory()
    urls = server.url(0), server.url(1), server.url(2)
    env = dict(
        zip(("CELERY_BROKER_URL", "ARGUMENTS_BACKEND", "ARGUMENTS_CACHE"), urls, strict=True)
    )
    app = make_app(*urls)
    with Worker(arguments_app.__name__, env=env, pool="solo", concurrency=1):
        yield app
    app.close()


def test_k5_a_tuple_is_a_default_and_a_list_an_argument(caller: Celery) -> None:
    kind = caller.tasks["kind"]
    assert kind.delay().get(timeout=PATIENCE) == "tuple"
    assert kind.delay((1, 2)).get(timeout=PATIENCE) == "list"
    assert kind.cache.call() == "tuple"
    for args, kept in ((), "tuple"), (((1, 2),), "list"):
        again = kind.delay(*args)
        assert again.cache_status.hit, "the worker has stored it under the caller's key"
        assert again.get(timeout=PATIENCE) == kept
    assert len(TaskCache(caller).keys("kind:*")) == 2


def test_k5_a_type_registered_with_kombu_has_one_key_on_both_sides(caller: Celery) -> None:
    cents = caller.tasks["cents"]
    assert cents.delay(Money(5)).get(timeout=PATIENCE) == 5
    assert cents.delay(Money(7)).get(timeout=PATIENCE) == 7
    again = cents.delay(Money(5))
    assert again.cache_status.hit
    assert again.get(timeout=PATIENCE) == 5
