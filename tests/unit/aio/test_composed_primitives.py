"""Routes and fallbacks: primitives made of others."""

from typing import Any

import pytest

from tests.unit.aio.running import Source, run
from tta_taskcache import (
    CachePrimitive,
    ConfigurationError,
    FallbackPrimitive,
    RouterPrimitive,
    WorkflowContext,
)


def test_a_router_chooses_for_each_call(source: Source) -> None:
    cache = CachePrimitive(source)

    async def router(_: Any, context: WorkflowContext) -> Any:
        return context.get("route", "cached")

    route = RouterPrimitive({"cached": cache, "fresh": source}, router)

    async def ask() -> list[Any]:
        fresh = WorkflowContext(route="fresh")
        return [await route.execute("x", context) for context in (None, None, fresh, None)]

    assert run(ask) == [1, 1, 2, 1]
    with pytest.raises(KeyError, match="'none' is no route; allowed: cached, fresh"):
        run(lambda: route.execute("x", WorkflowContext(route="none")))
    with pytest.raises(ConfigurationError, match="must be one of the routes: cached"):
        RouterPrimitive({"cached": cache}, router, default="fresh")


def test_the_last_good_value_stands_in(source: Source, place: dict[str, Any]) -> None:
    last_good = CachePrimitive(**place)
    rates = FallbackPrimitive(source, last_good)

    async def ask() -> None:
        source.error = ValueError("down")
        with pytest.raises(ValueError, match="down") as caught:
            await rates.execute("eur")
        assert "nothing is stored" in caught.value.__notes__[0]
        source.error = None
        assert await rates.execute("eur") == 2
        source.error = ValueError("down")
        assert await rates.execute("eur") == 2
        with pytest.raises(ValueError, match="down"):
            await rates.execute("usd")

    run(ask, last_good)


def test_fallbacks_are_tried_in_order(source: Source) -> None:
    async def broken(_data: Any, _context: Any) -> Any:
        raise LookupError("broken")

    both = FallbackPrimitive(broken, [broken, source], on=(LookupError,))
    assert run(lambda: both.execute("x")) == 1
    narrow = FallbackPrimitive(broken, source, on=(ValueError,))
    with pytest.raises(LookupError, match="broken"):
        run(lambda: narrow.execute("x"))
