"""The cache for asyncio: an engine whose plans run in event loops, with leases for each loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from ...core.events import Fault
from ...errors import StoreUnavailable
from ...stores.connections.async_connection import AsyncLink
from ...stores.loop_local import LoopLocal
from ...stores.protocol import AsyncStore, Command, Reply, Store
from ...stores.wrappers.batching_store import BatchingStore
from ..engine.engine import Engine
from ..leases.single_flight import SingleFlight
from ..plan import Plan, T
from ..runs.current_run import context_apart
from .async_driver import run_in_loop
from .lease_task import LeaseTask


class InProcess:
    """An asyncio store over a store in this process's memory; it never waits.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self.name = store.name
        self._store = store

    async def execute(self, command: Command) -> Reply:
        """Execute one command."""
        return self._store.execute(command)


class AsyncCache:
    """An engine whose plans run in event loops.

    Args:
        engine: The engine.
        single_flight: The computations that callers in this process lead, in threads and loops.
        store: Executes its commands.
        lease_ttl: Seconds that a lease lasts.
        link: The store's connections to Redis, over which simultaneous looks are batched; None for
            memory.
    """

    def __init__(
        self,
        engine: Engine,
        single_flight: SingleFlight,
        store: AsyncStore,
        lease_ttl: float,
        *,
        link: AsyncLink | None,
    ) -> None:
        self.engine = engine
        self.single_flight = single_flight
        self.lease_ttl = lease_ttl
        self.store = BatchingStore(store, self.abandon) if link is not None else store
        self._link = link
        observe = engine.parts.observe
        self._leases = LoopLocal(lambda: LeaseTask(self.store, lease_ttl, observe))
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def leases(self) -> LeaseTask:
        """The leases of the running event loop."""
        return self._leases.get()

    async def run(self, plan: Plan[T]) -> T:
        """Drive a plan of the engine."""
        return await run_in_loop(plan, self.store)

    def abandon(self, key: str, owner: str) -> None:
        """End a lease that may have been granted, as the reply to its claim was lost."""
        with suppress(RuntimeError):  # no loop is running any more: the lease lapses
            self.leases.end(key, owner)

    async def aclose(self) -> None:
        """End the leases and close the connections of the running event loop."""
        with suppress(StoreUnavailable):
            await self.leases.finish()
        if self._link is not None:
            await self._link.aclose()

    def begin(self, work: Coroutine[Any, Any, object], task: str) -> None:
        """Run a coroutine in the background.

        Args:
            work: The coroutine.
            task: Name of the task that faults are reported for.
        """

        async def run() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                self.engine.parts.observe(Fault(task, "background", error))

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the loop has ended
            work.close()
            return
        background = loop.create_task(run(), context=context_apart())
        self._tasks.add(background)
        background.add_done_callback(self._tasks.discard)
