"""A dashboard that is never slow: stale figures are served while one refresh runs.

`python -m examples.dashboard`
"""

import asyncio
import time

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, WorkflowContext

TTL, WINDOW, QUERY = 1.0, 60.0, 0.4


async def main(url: str) -> None:
    """Run the example."""
    queries = 0

    async def figures(data: str, context: WorkflowContext) -> dict[str, int]:
        nonlocal queries
        queries += 1
        mine = queries
        await asyncio.sleep(QUERY)  # a query over a large table
        return {"version": mine}

    async with CachePrimitive(
        figures,
        name="figures",
        ttl_seconds=TTL,
        stale_while_revalidate=WINDOW,
        backend="redis",
        redis_url=url,
    ) as dashboard:
        slowest = 0.0
        shown: list[int] = []
        for view in range(40):
            started = time.perf_counter()
            found = await dashboard.execute("sales")
            seconds = time.perf_counter() - started
            if view:  # the first one waits: there is nothing yet
                slowest = max(slowest, seconds)
            shown.append(found["version"])
            await asyncio.sleep(0.1)
    print("versions shown:", " ".join(map(str, shown)))
    print(f"{len(shown)} views, {queries} queries of {QUERY} s")
    print(f"slowest view after the first: {slowest:.3f} s")


if __name__ == "__main__":
    with redis_url() as url:
        asyncio.run(main(url))
