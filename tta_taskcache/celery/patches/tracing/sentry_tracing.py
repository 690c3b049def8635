"""Sentry's wrapper of Celery's tracer, which makes a transaction of each task.

A hit at the producer is a part of its caller's trace, such as a web request's transaction, and has
none of its own. In workers the wrapper stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_INTEGRATION: Final = "sentry_sdk.integrations.celery"


def without_transaction(tracer: Callable[..., Any]) -> Callable[..., Any]:
    """The tracer that Sentry's integration has wrapped; any other as it is."""
    if getattr(tracer, "__globals__", {}).get("__name__") != _INTEGRATION:
        return tracer
    wrapped: Callable[..., Any] = getattr(tracer, "__wrapped__", tracer)
    return wrapped
