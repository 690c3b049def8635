"""The callables that primitives wrap, made async functions of data and context."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from ...errors import ConfigurationError
from .workflow_context import WorkflowContext


def context_or_new(context: Any) -> Any:
    """Return the given context, or an empty one for None."""
    return WorkflowContext() if context is None else context


def runner(name: str, primitive: Any) -> Any:
    """Return an async function of data and context that runs a primitive.

    Raises:
        ConfigurationError: The object is no primitive.
    """
    if primitive is None:

        async def nothing(_data: Any, _context: Any) -> Any:
            raise ConfigurationError(f"primitive {name!r} wraps nothing that it could run")

        return nothing
    execute = getattr(primitive, "execute", None) or primitive
    if not callable(execute):
        raise ConfigurationError(
            f"primitive={primitive!r}: must be a callable of data and context, or have an execute"
        )
    if inspect.iscoroutinefunction(execute) or inspect.iscoroutinefunction(
        getattr(execute, "__call__", None)  # noqa: B004 - it may be async
    ):
        return execute

    async def in_thread(data: Any, context: Any) -> Any:
        value = await asyncio.to_thread(execute, data, context)
        return await value if inspect.isawaitable(value) else value

    return in_thread
