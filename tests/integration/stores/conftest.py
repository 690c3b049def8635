"""A store on the shared server, and a client of it."""

from collections.abc import Iterator

import pytest
import redis

from tests.integration.stores.redis_stores import Pruning, redis_store
from tests.support.servers import Server
from tta_taskcache.stores.redis.redis_store import LogBounds, RedisStore
from tta_taskcache.testing.contract import (
    look,
    position,
)


@pytest.fixture
def store(redis_server: Server) -> Iterator[RedisStore]:
    store = redis_store(redis_server)
    assert look(store).position == position(store)
    yield store
    store.client.close()


@pytest.fixture
def client(redis_server: Server) -> redis.Redis:
    return redis_server.client()


@pytest.fixture
def pruning(store: RedisStore) -> Pruning:
    store.bounds = LogBounds(grace_ms=300)
    return Pruning(store)
