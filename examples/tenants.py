"""Answers that are personal: a tenant never gets another's.

`python -m examples.tenants`
"""

import asyncio

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, WorkflowContext

PLANS = {"acme": "Enterprise", "globex": "Free"}


async def main(url: str) -> None:
    """Run the example."""
    runs: list[str] = []

    async def greeting(data: dict[str, str], context: WorkflowContext) -> str:
        tenant = context.get("tenant")
        runs.append(tenant)
        return f"{data['page']} of {tenant}: plan {PLANS[tenant]}"

    async with CachePrimitive(
        greeting,
        name="greeting",
        backend="redis",
        redis_url=url,
        key_fn=lambda data, context: f"{context.get('tenant')}/{data['page']}",
        vary=("tenant",),  # and without a tenant, nothing is shared
        tags=("tenant:{tenant}",),
        l1_max_staleness=0,  # an invalidation holds at once in every process
    ) as cache:
        for tenant in ("acme", "globex", "acme", "globex"):
            print(await cache.execute({"page": "settings"}, WorkflowContext(tenant=tenant)))
        print(f"runs: {runs}")
        PLANS["acme"] = "Free"
        await cache.ainvalidate(tags=["tenant:acme"])
        for tenant in ("acme", "globex"):
            print(await cache.execute({"page": "settings"}, WorkflowContext(tenant=tenant)))
        print(f"runs: {runs}")


if __name__ == "__main__":
    with redis_url() as url:
        asyncio.run(main(url))
