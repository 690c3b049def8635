"""``RouterPrimitive``: one of several primitives for each call: a cached one, or fresh data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ConfigurationError
from ..definition.sources import context_or_new, runner


class RouterPrimitive:
    """Executes the one of its routes that a function chooses for a call.

    Args:
        routes: Primitives, or callables of data and context, by name.
        router_fn: Given data and context, returns the name of a route; may be ``async``.
        default: The route for a name that isn't one; None raises ``KeyError`` for it.

    Raises:
        ConfigurationError: There is no route, or the default isn't one.
    """

    def __init__(
        self,
        routes: Mapping[str, Any],
        router_fn: Callable[[Any, Any], Any],
        *,
        default: str | None = None,
    ) -> None:
        if not routes or (default is not None and default not in routes):
            known = ", ".join(routes) or "none"
            raise ConfigurationError(f"default={default!r}: must be one of the routes: {known}")
        self.routes = dict(routes)
        self.default = default
        self._router_fn = router_fn
        self._run = {name: runner(name, route) for name, route in routes.items()}

    async def execute(self, data: Any, context: Any = None) -> Any:
        """Execute the chosen route.

        Raises:
            KeyError: ``router_fn`` returned no route's name, and there is no default.
        """
        context = context_or_new(context)
        name = self._router_fn(data, context)
        if inspect.isawaitable(name):
            name = await name
        run = self._run.get(name) or self._run.get(self.default or "")
        if run is None:
            raise KeyError(f"{name!r} is no route; allowed: {', '.join(self.routes)}")
        return await run(data, context)
