"""The snippets of the caching pattern run as they stand; what they leave out is brought here."""

import ast
import asyncio
import inspect
import logging
import re
import time
import uuid
from hashlib import sha256
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import pytest

from tests.support.servers import Server
from tta_taskcache import CacheError, CachePrimitive, WorkflowContext

TEXT = Path(__file__).with_name("pattern.md").read_text()
SNIPPETS = dict(re.findall(r"^## (.*?)\n\n```python\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL))


class Source:
    """What is dear: an async function of data and context that notes its calls."""

    def __init__(self, make: Any = lambda data: {"answer": data}) -> None:
        self.calls: list[Any] = []
        self._make = make

    async def __call__(self, data: Any, context: Any = None) -> Any:
        self.calls.append((data, context))
        return self._make(data)


class OpenAI:
    """As much of the client as the pattern uses."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))

    async def _create(self, *, model: str, messages: list[dict[str, str]]) -> Any:
        self.prompts.append(messages[0]["content"])
        message = SimpleNamespace(content=f"{model}: {messages[0]['content']}")
        return SimpleNamespace(
            choices=[SimpleNamespace(message=message)], usage=SimpleNamespace(total_tokens=7)
        )


def run(
    names: dict[str, Any], *titles: str, replaced: tuple[str, str] = ("", "")
) -> dict[str, Any]:
    """Run snippets one after the other, in one loop; the names that they leave behind."""

    async def execute() -> None:
        for title in titles:
            text = SNIPPETS[title].replace(*replaced) if replaced[0] else SNIPPETS[title]
            code = compile(text, title, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            assert isinstance(code, CodeType)
            found = eval(code, names)  # noqa: S307 - it is the pattern's text
            if inspect.iscoroutine(found):
                await found

    asyncio.run(execute())
    return names


def llm() -> dict[str, Any]:
    return {"openai": OpenAI(), "calculate_cost": lambda usage: usage.total_tokens * 0.1}


def test_every_snippet_is_run() -> None:
    """Each title is named by a test of this module."""
    module = Path(__file__).read_text()
    assert len(SNIPPETS) == 12
    assert [title for title in SNIPPETS if f'"{title}"' not in module] == []


def test_simple_lru_cache() -> None:
    names = run(llm(), "Simple LRU Cache")
    assert names["openai"].prompts == ["What is TTA.dev?", "What is a primitive?"]
    assert names["result1"] == names["result2"]
    assert names["result1"]["response"] == "gpt-4: What is TTA.dev?"
    assert names["result1"] is not names["result2"], "R2"


def test_l1_and_l2(redis_server: Server) -> None:
    source = Source()
    names: dict[str, Any] = {"fetch_from_database": source, "context": WorkflowContext()}
    names["WorkflowContext"] = WorkflowContext
    url = ("redis://localhost:6379", redis_server.url())
    run(names, "Pattern: L1 + L2 Cache", replaced=url)
    assert names["result"] == {"answer": "user-123"}
    assert len(redis_server.client().keys("taskcache:e:*")) == 1
    again = {**names}
    run(again, "Pattern: L1 + L2 Cache", replaced=url)  # as another process would
    assert again["result"] == {"answer": "user-123"}
    assert len(source.calls) == 1


def test_context_is_a_part_of_the_key() -> None:
    source = Source()
    names = run(
        {"personalized_llm_call": source, "WorkflowContext": WorkflowContext},
        "Pattern: Include Context in Cache Key",
    )
    assert [context.user_id for _, context in source.calls] == ["user-1", "user-2"]
    assert names["cached_personalized_llm"].keys() == [
        "My settings:user-1:default",
        "My settings:user-2:default",
    ]


def test_warming(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(llm(), "Simple LRU Cache", "Pattern: Pre-populate Cache")
    assert len(names["openai"].prompts) == 2 + 3, "one was there"
    assert "Cache warmed with 4 queries" in capsys.readouterr().out


def test_ttl_based_invalidation() -> None:
    names = run(
        {"CachePrimitive": CachePrimitive, "operation": Source()},
        "Strategy 1: TTL-Based Invalidation",
    )
    cache = names["cache"]
    assert asyncio.run(cache.execute("x")) == asyncio.run(cache.execute("x"))
    assert len(names["operation"].calls) == 1


def test_manual_invalidation() -> None:
    source = Source()
    cache = CachePrimitive(source, key_fn=lambda data, _: data)

    async def fill() -> None:
        for prompt in ("specific-prompt", "user-1: a", "user-1: b", "user-2: a"):
            await cache.execute(prompt)

    asyncio.run(fill())
    assert len(cache.keys()) == 4
    text = SNIPPETS["Strategy 2: Manual Invalidation"]
    names: dict[str, Any] = {"cache": cache}
    exec(text.replace("cache.clear()", ""), names)  # noqa: S102 - it is the pattern's text
    assert set(cache.keys()) == {"user-1: a", "user-1: b", "user-2: a"}
    asyncio.run(names["invalidate_user_cache"]("user-1"))
    assert cache.keys() == ["user-2: a"]
    exec(text, names)  # noqa: S102 - likewise
    assert cache.keys() == []


def test_conditional_invalidation() -> None:
    source, valid = Source(), [True]
    names = run(
        {
            "cache": CachePrimitive(),
            "WorkflowContext": WorkflowContext,
            "expensive_operation": source,
            "is_still_valid": lambda _: valid[0],
        },
        "Strategy 3: Conditional Invalidation",
    )

    async def ask() -> Any:
        return await names["cached_with_validation"]({"q": 1}, WorkflowContext())

    assert asyncio.run(ask()) == asyncio.run(ask()) == {"answer": {"q": 1}}
    assert len(source.calls) == 1
    valid[0] = False
    asyncio.run(ask())
    assert len(source.calls) == 2


def test_a_subclass_with_metrics() -> None:
    names = run({"WorkflowContext": WorkflowContext, "time": time}, "Metrics to Track")
    source = Source()
    cache = names["MetricsCachePrimitive"](source, key_fn=lambda data, _: data)

    async def ask() -> None:
        for _ in range(3):
            assert await cache.execute("x", WorkflowContext()) == {"answer": "x"}

    asyncio.run(ask())
    counted = [names[name]._value.get() for name in ("cache_hits", "cache_misses")]
    assert counted == [2, 1]
    assert len(source.calls) == 1


def test_sizes_and_ttls() -> None:
    names = run(
        {"CachePrimitive": CachePrimitive},
        "1. Choose Appropriate TTL",
        "2. Size Cache Appropriately",
    )

    async def fill() -> None:
        for i in range(150):
            assert await names["cache_small"].aset(i, i)

    asyncio.run(fill())
    assert len(names["cache_small"].keys()) == 100
    assert asyncio.run(names["cache_small"].aget(149)) == 149


def test_semantic_keys() -> None:
    names = run(
        {
            "WorkflowContext": WorkflowContext,
            "uuid": uuid,
            "hash_prompt": lambda prompt: sha256(prompt.lower().encode()).hexdigest(),
        },
        "3. Use Semantic Cache Keys",
    )
    good, bad = Source(), Source()
    semantic = CachePrimitive(good, key_fn=names["semantic_key"])
    random = CachePrimitive(bad, key_fn=names["bad_key"])

    async def ask() -> None:
        for prompt in ("What?", "what?"):
            await semantic.execute({"prompt": prompt}, WorkflowContext())
            await random.execute({"prompt": prompt}, WorkflowContext())

    asyncio.run(ask())
    assert (len(good.calls), len(bad.calls)) == (1, 2)


def test_failures_of_the_cache_are_handled(
    server_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server: Server = server_factory()
    source, direct = Source(), Source()
    strict = CachePrimitive(
        source, name="strict", backend="redis", redis_url=server.url(), on_error="raise"
    )
    names = run(
        {
            "WorkflowContext": WorkflowContext,
            "CacheError": CacheError,
            "cached_operation": strict,
            "direct_operation": SimpleNamespace(execute=direct),
            "logger": logging.getLogger("pattern"),
        },
        "4. Handle Cache Failures Gracefully",
    )
    server.stop()

    async def ask() -> Any:
        async with strict:
            return await names["fault_tolerant_cache"]({"q": 1}, WorkflowContext())

    assert asyncio.run(ask()) == {"answer": {"q": 1}}
    assert (len(source.calls), len(direct.calls)) == (0, 1)
    assert "falling back to direct execution" in caplog.text
