"""``FallbackPrimitive``: fallbacks of a primitive that fails, such as its last good value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.results.missing import MISSING
from ...errors import CacheMiss
from ..definition.sources import context_or_new, runner
from .cache_primitive import CachePrimitive


class FallbackPrimitive:
    """Executes a primitive, and its fallbacks in turn when it fails.

    A ``CachePrimitive`` without a source, as a fallback, keeps what the primitive returns, and
    returns that for as long as its ttl when the primitive fails: the last good value.

    Args:
        primary: A primitive, or a callable of data and context.
        fallbacks: Others, tried in this order; one of them may be given by itself.
        on: Exception classes that count as a failure.
    """

    def __init__(
        self,
        primary: Any,
        fallbacks: Any,
        *,
        on: tuple[type[Exception], ...] = (Exception,),
    ) -> None:
        given = fallbacks if isinstance(fallbacks, Sequence) else (fallbacks,)
        self.primary = primary
        self.fallbacks = tuple(given)
        self._on = on
        self._run = runner("primary", primary)
        self._instead = [
            (each, None if _is_keeper(each) else runner("fallback", each)) for each in given
        ]

    async def execute(self, data: Any, context: Any = None) -> Any:
        """Execute the primary; when it fails, the first fallback that doesn't.

        Raises:
            Exception: What the primary has raised, when no fallback has an answer.
        """
        context = context_or_new(context)
        try:
            value = await self._run(data, context)
        except self._on as error:
            for primitive, run in self._instead:
                try:
                    return await (run or _last_value(primitive))(data, context)
                except self._on as fault:
                    error.add_note(f"the fallback failed, too: {fault!r}")
            raise
        for primitive, run in self._instead:
            if run is None:
                await primitive.aset(data, value, context)
        return value


def _is_keeper(primitive: Any) -> bool:
    return isinstance(primitive, CachePrimitive) and primitive.primitive is None


def _last_value(primitive: CachePrimitive) -> Any:
    async def get(data: Any, context: Any) -> Any:
        value = await primitive.aget(data, context)
        if value is MISSING:
            raise CacheMiss(f"{primitive.name}: nothing is stored")
        return value

    return get
