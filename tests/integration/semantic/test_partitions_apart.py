"""No hit across partitions, whatever calls differ in.

``SEMANTIC_CALLS=100000`` makes it as long as ``make semantic`` does.
"""

import asyncio
import logging
import os
from random import Random
from typing import Any

import pytest

from tests.integration.semantic.harness import embed
from tests.support.servers import Server
from tta_taskcache import CachePrimitive, Semantic, WorkflowContext
from tta_taskcache.aio.primitives.cached import FunctionPrimitive

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.one_server_kind

CALLS = int(os.environ.get("SEMANTIC_CALLS", "2000"))
AT_ONCE = 50

#: Values that are easily taken for one another, each with what tells it apart.
VALUES: list[Any] = [
    None, True, False, 1, 0, 1.0, 0.0, "1", "0", "", "None", "a", "A", "a:b", "a b", " a",
    [], {}, [1], [[1]], ["1"], {"a": 1}, {"a": [1]}, {"a": {"b": 1}}, [1, 2], [2, 1], "café",
    "cafe\u0301", "{}", "[]",
]  # fmt: skip


def semantic(embedder: str = "toy") -> Semantic:
    return Semantic(on="prompt", embed=embed, threshold=0.9, guard=None, embedder=embedder)


def told_apart(value: Any) -> str:
    return f"{type(value).__name__}:{value!r}"


def identity(about: str, rest: dict[str, Any]) -> str:
    parts = "|".join(f"{name}={told_apart(value)}" for name, value in sorted(rest.items()))
    return f"{about}|{parts}"


class World:
    """Primitives of one name in one Redis, whose every answer says what it is an answer to."""

    def __init__(self, url: str) -> None:
        place: dict[str, Any] = {
            "backend": "redis", "redis_url": url, "timeout": 30.0, "l1_max_staleness": 0.01
        }  # fmt: skip
        self.primitives: dict[str, CachePrimitive] = {}
        for about in ("v1/toy", "v2/toy", "v1/other"):
            version, embedder = about.split("/")
            options = {"version": version, "semantic": semantic(embedder), **place}

            async def run(
                data: dict[str, Any], context: WorkflowContext, about: str = about
            ) -> str:
                rest = {name: value for name, value in data.items() if name != "prompt"}
                return identity(about, {**rest, "tenant": context.get("tenant")})

            primitive = CachePrimitive(run, name="model", vary=("tenant",), **options)
            self.primitives[f"primitive {about}"] = primitive

        async def function(prompt: str, tenant: str, one: Any = None, other: Any = 1) -> str:
            return identity("function", {"tenant": tenant, "one": one, "other": other})

        self.primitives["function"] = FunctionPrimitive(
            function, {}, name="function", semantic=semantic(), **place
        )

    async def ask(self, chance: Random, number: int) -> tuple[bool, bool]:
        """Make a call; return whether a neighbour has answered, and whether wrongly."""
        which = chance.choice(list(self.primitives))
        rest = {
            name: chance.choice(VALUES[: chance.choice((3, 8, 30))]) for name in ("one", "other")
        }
        tenant = chance.choice(("a", "b", "A", "a|one"))
        prompt, primitive = f"cats {number}?", self.primitives[which]
        if which == "function":
            expected = identity("function", {**rest, "tenant": tenant})
            data: Any = ((prompt, tenant), rest)
        else:
            expected = identity(which.split()[1], {**rest, "tenant": tenant})
            data = {"prompt": prompt, **rest}
        context = WorkflowContext(tenant=tenant)
        answer, status = await primitive.execute_with_status(data, context)
        return status.similarity is not None, answer != expected


def test_no_call_is_answered_by_one_that_differs_in_anything_else(redis_server: Server) -> None:
    async def main() -> list[tuple[bool, bool]]:
        world, chance = World(redis_server.url()), Random(1)
        found = []
        for start in range(0, CALLS, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            found += await asyncio.gather(*(world.ask(chance, number) for number in numbers))
        for primitive in world.primitives.values():
            await primitive.aclose()
        return found

    found = asyncio.run(main())
    near = sum(is_near for is_near, _ in found)
    logger.info("%d calls, %d answered by neighbours", len(found), near)
    assert near > CALLS / 20
    assert sum(is_wrong for _, is_wrong in found) == 0
