"""Calling the user's embedder: in threads and loops, together, and when it fails."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from tta_taskcache.core.events import Embedded, Event, Fault
from tta_taskcache.core.semantic.semantic_policy import Semantic
from tta_taskcache.semantic.embedding import (
    BATCHES_AT_ONCE,
    TEXTS_AT_ONCE,
    EmbedBatches,
    Embedder,
)
from tta_taskcache.semantic.vectors import packed


class Model:
    """An embedder that notes what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[int] = []
        self.events: list[Event] = []

    def embed(self, texts: list[str]) -> list[Any]:
        self.batches.append(texts)
        self.threads.append(threading.get_ident())
        return [[1.0, float(len(text))] for text in texts]

    async def embed_later(self, texts: list[str]) -> list[Any]:
        await asyncio.sleep(0)
        return self.embed(texts)

    def embedder(self, embed: Any) -> Embedder:
        semantic = Semantic(on="q", embed=embed, threshold=0.9, embedder="model", cost=0.5)
        return Embedder(task="t", semantic=semantic, observe=self.events.append)


def expected(*texts: str) -> list[bytes]:
    return [packed([1.0, float(len(text))]) for text in texts]


@pytest.mark.parametrize("name", ["embed", "embed_later"])
def test_an_embedder_gets_all_texts_at_once(name: str) -> None:
    model = Model()
    embedder = model.embedder(getattr(model, name))
    assert embedder.embed(["a", "bb"]) == expected("a", "bb")

    async def inside() -> None:
        assert embedder.embed(["a", "bb"]) == expected("a", "bb")  # a loop runs in this thread

    asyncio.run(inside())
    assert model.batches == [["a", "bb"]] * 2
    assert [(e.texts, e.cost) for e in model.events if isinstance(e, Embedded)] == [(2, 0.5)] * 2


def test_many_texts_are_several_batches() -> None:
    model = Model()
    texts = [f"{i}" for i in range(TEXTS_AT_ONCE + 1)]
    assert model.embedder(model.embed).embed(texts) == expected(*texts)
    assert [len(batch) for batch in model.batches] == [TEXTS_AT_ONCE, 1]


@pytest.mark.parametrize("name", ["embed", "embed_later"])
def test_calls_of_one_turn_are_embedded_together_and_equal_texts_once(name: str) -> None:
    model = Model()
    embedder = model.embedder(getattr(model, name))

    async def ask() -> list[Any]:
        batches = EmbedBatches()
        return await asyncio.gather(*(batches.embed(embedder, f"{i % 50}") for i in range(200)))

    assert asyncio.run(ask()) == expected(*(f"{i % 50}" for i in range(200)))
    assert model.batches == [[f"{i}" for i in range(50)]]
    is_in_loop = model.threads == [threading.get_ident()]
    assert is_in_loop == (name == "embed_later")  # a plain one runs in a thread


def test_so_many_batches_are_embedded_at_the_same_time() -> None:
    model = Model()
    running, most = 0, 0

    async def slow(texts: list[str]) -> list[Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return model.embed(texts)

    embedder = model.embedder(slow)
    texts = [f"{i}" for i in range(TEXTS_AT_ONCE * (BATCHES_AT_ONCE + 2))]

    async def ask() -> list[Any]:
        batches = EmbedBatches()
        return await asyncio.gather(*(batches.embed(embedder, text) for text in texts))

    assert asyncio.run(ask()) == expected(*texts)
    assert most == BATCHES_AT_ONCE


def test_a_cancelled_call_takes_nothing_from_the_others() -> None:
    model = Model()
    embedder = model.embedder(model.embed_later)

    async def ask() -> Any:
        batches = EmbedBatches()
        first = asyncio.create_task(batches.embed(embedder, "a"))
        second = asyncio.create_task(batches.embed(embedder, "a"))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(ask()) == expected("a")[0]


def test_a_batch_is_no_part_of_a_callers_run() -> None:
    run: ContextVar[str] = ContextVar("run", default="none")
    seen = []

    async def embed(texts: list[str]) -> list[Any]:
        seen.append(run.get())
        return [[1.0]] * len(texts)

    async def ask() -> None:
        run.set("the caller's")
        await EmbedBatches().embed(Model().embedder(embed), "a")

    asyncio.run(ask())
    assert seen == ["none"]


def _raises(_: list[str]) -> Any:
    raise RuntimeError("down")


@pytest.mark.parametrize(
    ("embed", "kind"),
    [
        (_raises, RuntimeError),
        (lambda texts: [[1.0]] * (len(texts) + 1), ValueError),
        (lambda _: None, TypeError),
        (lambda _: [1.0, 2.0], ValueError),  # one vector, and no list of them
    ],
    ids=["raises", "too-many", "nothing", "flat"],
)
def test_an_embedder_that_fails_fails_no_call(embed: Any, kind: type[Exception]) -> None:
    model = Model()
    embedder = model.embedder(embed)
    assert embedder.embed(["a", "b"]) == [None, None]

    async def ask() -> Any:
        return await EmbedBatches().embed(embedder, "a")

    assert asyncio.run(ask()) is None
    faults = [type(e.error) for e in model.events if isinstance(e, Fault)]
    assert set(faults) == {kind}


def test_a_text_without_a_vector_takes_nothing_from_the_others() -> None:
    model = Model()

    def embed(texts: list[str]) -> list[Any]:
        return [[0.0, 0.0] if text == "?" else [1.0, float(len(text))] for text in texts]

    assert model.embedder(embed).embed(["a", "?", "bb"]) == [
        expected("a")[0], None, expected("bb")[0]
    ]  # fmt: skip
    assert sum(isinstance(event, Fault) for event in model.events) == 1


def test_an_interruption_is_the_callers() -> None:
    model = Model()

    class Limit(Exception):
        pass

    def embed(_: list[str]) -> Any:
        raise RuntimeError("wrapped") from Limit()

    semantic = Semantic(on="q", embed=embed, threshold=0.9, embedder="model")
    embedder = Embedder(
        task="t", semantic=semantic, observe=model.events.append, interruptions=(Limit,)
    )
    with pytest.raises(Limit):
        embedder.embed(["a"])
    assert model.events == []
