"""Fixtures of primitives: a source, and where its results are cached."""

from typing import Any

import pytest

from tests.support.servers import Server
from tests.unit.aio.running import Source


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest, redis_server: Server) -> dict[str, Any]:
    if request.param == "memory":
        return {"name": "source"}
    url = redis_server.url()
    return {"name": "source", "backend": "redis", "redis_url": url, "timeout": 5.0}
