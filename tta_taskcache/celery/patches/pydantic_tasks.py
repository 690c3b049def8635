"""Which tasks are made with ``pydantic=True``: Celery keeps no note of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def validated_body(run: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function whose arguments Celery validates before it calls it; None if it does not."""
    function: Any = run
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None and code.co_qualname.startswith("pydantic_wrapper."):
            body: Callable[..., Any] = inner
            return body
        function = inner
    return None
