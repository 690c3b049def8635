"""Processes with engines of their own, and cached tasks in this one."""

from collections.abc import Iterator

import pytest

from tests.integration.engine.conftest import clock, start
from tests.integration.freshness.one_process import OneProcess

__all__ = ["clock", "here", "start"]


@pytest.fixture
def here() -> Iterator[OneProcess]:
    with OneProcess() as here:
        yield here
