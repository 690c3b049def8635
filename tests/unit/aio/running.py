"""A source to cache, and a loop to run coroutines in."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tta_taskcache import CachePrimitive


class Source:
    """Returns the number of its run, or raises what it is told."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None

    async def __call__(self, data: Any, _: Any) -> Any:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return self.runs


def run(work: Callable[[], Awaitable[Any]], *primitives: CachePrimitive) -> Any:
    async def main() -> Any:
        try:
            return await work()
        finally:
            for primitive in primitives:
                await primitive.aclose()

    return asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - whatever is waited for tells nobody
            await asyncio.sleep(0.005)
