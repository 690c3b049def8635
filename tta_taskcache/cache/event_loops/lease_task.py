"""The task that renews the leases of an event loop (promise C3).

Leases are renewed while the loop runs, and lapse when it is blocked for longer than their ttl.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ...core.events import Fault, Observe
from ...stores.protocol import AsyncStore
from ..leases.held_leases import HeldLeases
from .async_driver import run_in_loop


class LeaseTask(HeldLeases):
    """Leases that an asyncio task renews and ends; it runs while any lease is held.

    Args:
        store: The store that holds the leases.
        ttl: Seconds that a lease lasts.
        observe: Receives faults.
    """

    def __init__(self, store: AsyncStore, ttl: float, observe: Observe) -> None:
        super().__init__(ttl, observe)
        self._store = store
        self._alarm = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _alert(self) -> None:
        self._alarm.set()
        if self._task is None or self._task.done():
            with suppress(RuntimeError):  # the loop has ended: leases lapse
                loop = asyncio.get_running_loop()
                self._task = loop.create_task(self._work())

    async def _work(self) -> None:
        while (pause := self.pause()) is not None:
            self._alarm.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._alarm.wait()
            try:
                await run_in_loop(self.do_what_is_due(), self._store)
            except Exception as error:  # noqa: BLE001 - leases lapse; computations go on
                self._observe(Fault("", "renew", error))

    async def finish(self) -> None:
        """End the leases that are due to end, and wait until that is done."""
        await run_in_loop(self.do_what_is_due(), self._store)
