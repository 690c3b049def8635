"""Processes that share an index."""

from typing import Any

import pytest

from tests.integration.engine.conftest import client, clock, start
from tests.integration.engine.process import Start
from tests.integration.semantic.harness import SemanticProcess

__all__ = ["client", "clock", "start"]


@pytest.fixture
def begin(start: Start) -> Any:
    """``begin()``: one more process on the same Redis."""

    def begin(**options: Any) -> SemanticProcess:
        secret = options.pop("secret", b"")
        return SemanticProcess(start(secret=secret), **options)

    return begin
