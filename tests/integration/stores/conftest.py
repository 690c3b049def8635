"""A store on the shared server, and a client of it."""

from collections.abc import Iterator

import pytest
import redis

from tests.integration.stores.redis_stores import Pruning, redis_store
from tests.support.servers import Server
from tta_taskcache.stores import redis_store as redis_module
from tta_taskcache.stores.redis_store import RedisStore
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
def pruning(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> Pruning:
    monkeypatch.setattr(redis_module, "GRACE_MS", 300)
    return Pruning(store)
