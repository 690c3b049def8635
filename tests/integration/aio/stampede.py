"""A process that executes a cold key many times at once: `… URL KEY N SECONDS [hang]`.

Prints a line when its run begins, and one with what came of it.
"""

import asyncio
import json
import sys
from typing import Any

from tta_taskcache import CachePrimitive

#: Seconds of a lease.
LEASE = 1.0


async def main(url: str, key: str, number: int, seconds: float, *, hangs: bool) -> None:
    runs = 0

    async def compute(data: str, _: Any) -> str:
        nonlocal runs
        runs += 1
        print("running", flush=True)  # noqa: T201 - for the test
        await asyncio.sleep(3600.0 if hangs else seconds)
        return f"answer to {data}"

    cache = CachePrimitive(
        compute,
        name="stampede",
        key_fn=lambda data, _: data,
        backend="redis",
        redis_url=url,
        timeout=5.0,
        lease_ttl=LEASE,
    )
    async with cache:
        answers = await asyncio.gather(*(cache.execute(key) for _ in range(number)))
    told = {"runs": runs, "answers": len(answers), "different": len(set(answers))}
    print(json.dumps(told))  # noqa: T201 - for the test


if __name__ == "__main__":
    url, key, number, seconds, *rest = sys.argv[1:]
    asyncio.run(main(url, key, int(number), float(seconds), hangs=bool(rest)))
