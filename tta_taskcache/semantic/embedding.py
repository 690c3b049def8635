"""Calling the user's embedder, sync or async, with several texts at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from threading import Thread
from typing import Any

from ..core.semantic.semantic_policy import Semantic
from .vectors import packed


def embed(semantic: Semantic, texts: Sequence[str]) -> list[bytes]:
    """Embed texts; an async embedder runs in an event loop of its own.

    Args:
        semantic: The task's semantic keys.
        texts: The texts.

    Returns:
        A vector for each, as it is sent and stored.

    Raises:
        Exception: The embedder's own.
        ValueError: It returned something else than a vector for each text.
    """
    produced: Any = semantic.embed(list(texts))
    if isawaitable(produced):
        produced = _wait_for(produced)
    return _read(produced, len(texts))


def _read(produced: Sequence[Any], count: int) -> list[bytes]:
    vectors = [packed(vector) for vector in produced]
    if len(vectors) != count:
        raise ValueError(f"the embedder returned {len(vectors)} vectors for {count} texts")
    return vectors


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_result_of(awaitable))
    # The caller's thread runs a loop, which can't run another meanwhile.
    done: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(_result_of(awaitable)))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            failed.append(error)

    thread = Thread(target=run, name="taskcache-embed")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
