"""A process with an engine of its own, on a store that others share."""

from typing import Any

import pytest
import redis

from tests.integration.engine.process import Process, Start, call
from tests.support.servers import Server
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start(redis_server: Server, clock: FakeClock) -> Start:
    """``start()``: one more process on the same Redis and the same time."""

    def start(**options: Any) -> Process:
        store = RedisStore(Link(redis_server.url(), 10.0), "ns")
        process = Process(options.pop("store", store), clock, **options)
        assert process.layer(call("t:warm")) == "absent"  # connected, the log open
        return process

    return start


@pytest.fixture
def here(start: Start) -> Process:
    return start()


@pytest.fixture
def client(redis_server: Server) -> redis.Redis:
    return redis_server.client()
