"""The driver of plans for asyncio: the same plans that ``plan.run`` drives for threads."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from ...errors import StoreUnavailable
from ...stores.loop_local import LoopLocal
from ...stores.protocol import AsyncStore
from ..plan import Pause, Plan, T, Work

#: Most seconds that steps of plans take in one turn of an event loop.
TURN = 0.005


class Turns:
    """Shares an event loop with other tasks: limits the steps of plans in each of its turns."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False

    def is_over(self) -> bool:
        """Whether this turn of the loop has been used up."""
        now = monotonic()
        if not self._is_scheduled:
            self._is_scheduled = True
            self._ends = now + TURN
            asyncio.get_running_loop().call_soon(self._begin)
        return bool(self._waiting) or now > self._ends

    async def wait(self) -> None:
        """Wait for a turn that has time left."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _begin(self) -> None:
        """Begin a turn: resume some of the waiting plans, in their order."""
        self._is_scheduled = False
        loop = asyncio.get_running_loop()
        for _ in range(min(len(self._waiting), WAITING_A_TURN)):
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
        if self._waiting:
            self._is_scheduled = True
            self._ends = monotonic() + TURN
            loop.call_soon(self._begin)


#: Most waiting plans that are resumed in one turn.
WAITING_A_TURN = 32

_turns: LoopLocal[Turns] = LoopLocal(Turns)


async def run_in_loop(plan: Plan[T], store: AsyncStore) -> T:
    """Drive a plan to its end, waiting for each command and pause without blocking the loop."""
    turns = _turns.get()
    try:
        if turns.is_over():
            await turns.wait()
        step = next(plan)
        while True:
            error: Exception | None = None
            reply = None
            if isinstance(step, Pause):
                await _rest(step)
            elif isinstance(step, Work):
                try:
                    reply = await step.run_in_loop()
                except Exception as fault:  # noqa: BLE001 - thrown into the plan
                    error = fault
            else:
                try:
                    reply = await store.execute(step)
                except StoreUnavailable as fault:
                    error = fault
            if turns.is_over():
                await turns.wait()
            step = plan.send(reply) if error is None else plan.throw(error)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        plan.close()


async def _rest(pause: Pause) -> None:
    if pause.wakeup is None:
        await asyncio.sleep(pause.seconds)
    else:
        await pause.wakeup.wait_in_loop(pause.seconds)
