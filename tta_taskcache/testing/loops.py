"""Stores of asyncio, as tests for threads see them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..stores.protocol import AsyncStore, Command, Reply

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own, until it is closed."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the loop, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        """End the loop, and what it still does."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loop.shutdown_default_executor()

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class InLoop:
    """A store of asyncio, for blocking callers: each command is executed in a loop.

    Args:
        store: The store.
        loops: The loop.
    """

    def __init__(self, store: AsyncStore, loops: LoopThread) -> None:
        self.store = store
        self.name = store.name
        self._loops = loops

    def execute(self, command: Command) -> Reply:
        """Execute one command."""
        return self._loops.run(self.store.execute(command))
