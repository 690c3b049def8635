"""Calling the user's embedder, sync or async, with several texts at once.

In an event loop, texts of calls that miss at about the same time are embedded together, and equal
ones once.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from ..cache.plan import Work
from ..core.events import Embedded, Fault, Observe
from ..core.interruption import Interruptions, handled_now, raise_interruption
from ..core.record import record
from ..core.semantic.semantic_policy import Semantic
from ..stores.loop_local import LoopLocal
from .vectors import packed
from .work import CallingUser

#: Most texts that an embedder is given at once.
TEXTS_AT_ONCE = 256

#: Most batches of one loop and task that are embedded at the same time; further texts wait.
BATCHES_AT_ONCE = 4

#: A vector as it is sent and stored; None for a text that couldn't be embedded.
Embedding = bytes | None


@record(kw_only=True)
class Embedder:
    """A task's embedder. Its failures are told to the observers, and fail no call (promise F1).

    Attributes:
        task: The task's name.
        semantic: Its semantic keys.
        observe: Receives events.
        interruptions: Exceptions that are the caller's, wherever they strike.
    """

    task: str
    semantic: Semantic
    observe: Observe
    interruptions: Interruptions = ()

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed texts, blocking; an async embedder runs in an event loop of its own."""
        handled, started = handled_now(), monotonic()
        vectors: list[Embedding] = []
        try:
            for at in range(0, len(texts), TEXTS_AT_ONCE):
                some = list(texts[at : at + TEXTS_AT_ONCE])
                vectors += self._read(CallingUser(self.semantic.embed, (some,)).run(), some)
        except Exception as error:  # noqa: BLE001 - the user's function
            raise_interruption(error, self.interruptions, handled)
            self.observe(Fault(self.task, "semantic", error))
        self._record(len(vectors), started)
        return vectors + [None] * (len(texts) - len(vectors))

    async def embed_in_loop(self, texts: list[str]) -> list[Embedding]:
        """Embed at most ``TEXTS_AT_ONCE`` texts without blocking the event loop."""
        started = monotonic()
        try:
            call = CallingUser(self.semantic.embed, (list(texts),))
            vectors = self._read(await call.run_in_loop(), texts)
        except Exception as error:  # noqa: BLE001 - the user's function
            self.observe(Fault(self.task, "semantic", error))
            return [None] * len(texts)
        self._record(len(vectors), started)
        return vectors

    def _record(self, texts: int, started: float) -> None:
        if texts:
            seconds = monotonic() - started
            self.observe(Embedded(self.task, texts, seconds, self.semantic.cost))

    def _read(self, produced: Sequence[Any], texts: Sequence[str]) -> list[Embedding]:
        """Read an embedder's reply; a text without a usable vector is a fault of its own.

        Raises:
            ValueError: It isn't of so many vectors.
        """
        found = list(produced)
        if len(found) != len(texts):
            raise ValueError(f"the embedder returned {len(found)} vectors for {len(texts)} texts")
        vectors: list[Embedding] = []
        for vector in found:
            try:
                vectors.append(packed(vector))
            except (TypeError, ValueError) as error:
                self.observe(Fault(self.task, "semantic", error))
                vectors.append(None)
        return vectors


@record
class EmbeddingText(Work):
    """The embedding of one call's text."""

    embedder: Embedder
    text: str
    batches: LoopLocal[EmbedBatches]

    def run(self) -> Embedding:
        """Embed it, blocking."""
        return self.embedder.embed([self.text])[0]

    async def run_in_loop(self) -> Embedding:
        """Embed it together with those of other calls."""
        return await self.batches.get().embed(self.embedder, self.text)


@dataclass(slots=True)
class _Queue:
    """One task's texts."""

    waiting: list[str] = field(default_factory=list)
    replies: dict[str, asyncio.Future[Embedding]] = field(default_factory=dict)
    batches: int = 0
    is_scheduled: bool = False


class EmbedBatches:
    """The texts that calls of one event loop wait for."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def embed(self, embedder: Embedder, text: str) -> Embedding:
        """Embed a text together with those that come in the same turn of the loop."""
        queue = self._queues.setdefault(embedder.task, _Queue())
        reply = queue.replies.get(text)
        if reply is None:
            loop = asyncio.get_running_loop()
            reply = queue.replies[text] = loop.create_future()
            queue.waiting.append(text)
            if not queue.is_scheduled:
                queue.is_scheduled = True
                loop.call_soon(self._send, embedder, queue)
        # Whoever is cancelled takes nothing from the others.
        return await asyncio.shield(reply)

    def _send(self, embedder: Embedder, queue: _Queue) -> None:
        queue.is_scheduled = False
        while queue.waiting and queue.batches < BATCHES_AT_ONCE:
            texts = queue.waiting[:TEXTS_AT_ONCE]
            del queue.waiting[:TEXTS_AT_ONCE]
            queue.batches += 1
            # In a context of its own: a batch is no part of any caller's run.
            task = asyncio.get_running_loop().create_task(
                self._embed(embedder, queue, texts), context=contextvars.Context()
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _embed(self, embedder: Embedder, queue: _Queue, texts: list[str]) -> None:
        vectors: list[Embedding] = [None] * len(texts)
        try:
            vectors = await embedder.embed_in_loop(texts)
        finally:
            queue.batches -= 1
            for text, vector in zip(texts, vectors, strict=True):
                reply = queue.replies.pop(text)
                if not reply.done():
                    reply.set_result(vector)
            self._send(embedder, queue)
