"""The cache in a minute: a slow function, asked often.

`python -m examples.quickstart`
"""

import asyncio
import time

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, WorkflowContext


async def main(url: str) -> None:
    """Run the example."""
    runs = 0

    async def slow_square(data: int, context: WorkflowContext) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.5)
        return data * data

    context = WorkflowContext(workflow_id="quickstart")
    async with CachePrimitive(
        slow_square, name="square", ttl_seconds=60, backend="redis", redis_url=url
    ) as cache:
        for title in ("a miss runs", "a hit doesn't"):
            started = time.perf_counter()
            answer = await cache.execute(12, context)
            print(f"{title}: {answer} in {time.perf_counter() - started:.3f} s")
        await asyncio.gather(*(cache.execute(13, context) for _ in range(1_000)))
        print(f"1,000 equal calls at once: {runs - 1} run")
        await cache.aclear()
        await cache.execute(12, context)
        print(f"after an invalidation: run {runs}")


if __name__ == "__main__":
    with redis_url() as url:
        asyncio.run(main(url))
