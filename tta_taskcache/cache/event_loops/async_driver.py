"""The driver of plans for asyncio: the same plans that ``plan.run`` drives for threads."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from ...errors import StoreUnavailable
from ...stores.loop_local import LoopLocal
from ...stores.protocol import AsyncStore, Reply, StoreReply
from ..plan import Pause, Plan, T, Work

#: Most seconds that steps of plans take in one turn of an event loop.
TURN = 0.005


class Turns:
    """Shares an event loop with other tasks: limits the steps of plans in each of its turns."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        #: Plans that others wait for.
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False

    def is_over(self) -> bool:
        """Whether this turn of the loop has been used up."""
        now = monotonic()
        if not self._is_scheduled:
            self._is_scheduled = True
            self._ends = now + TURN
            asyncio.get_running_loop().call_soon(self._begin)
        return bool(self._waiting or self._urgent) or now > self._ends

    async def wait(self, *, is_urgent: bool) -> None:
        """Wait for a turn that has time left: after those that came before, or before all others.

        Args:
            is_urgent: Whether others wait for this plan.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if is_urgent else self._waiting).append(future)
        await future

    def _begin(self) -> None:
        """Begin a turn: resume some of the waiting plans, in their order."""
        self._is_scheduled = False
        loop = asyncio.get_running_loop()
        for _ in range(min(len(self._urgent) + len(self._waiting), WAITING_A_TURN)):
            future = (self._urgent or self._waiting).popleft()
            if not future.done():
                future.set_result(None)
        if self._waiting or self._urgent:
            self._is_scheduled = True
            self._ends = monotonic() + TURN
            loop.call_soon(self._begin)


#: Most waiting plans that are resumed in one turn.
WAITING_A_TURN = 32

_turns: LoopLocal[Turns] = LoopLocal(Turns)


async def run_in_loop(plan: Plan[T], store: AsyncStore, *, is_urgent: bool = False) -> T:
    """Drive a plan to its end, waiting for each command and pause without blocking the loop.

    Args:
        plan: The plan.
        store: Executes its commands.
        is_urgent: Whether others wait for it; a plan that takes a lease is urgent from then on.
    """
    turns = _turns.get()
    try:
        if turns.is_over():
            await turns.wait(is_urgent=is_urgent)
        step = next(plan)
        while True:
            error: Exception | None = None
            reply = None
            if isinstance(step, Pause):
                wakeup, seconds = step.wakeup, step.seconds
                del step  # ten thousand that wait are work for the collector
                await (wakeup.wait_in_loop(seconds) if wakeup else asyncio.sleep(seconds))
            elif isinstance(step, Work):
                try:
                    reply = await step.run_in_loop()
                except Exception as fault:  # noqa: BLE001 - thrown into the plan
                    error = fault
            else:
                try:
                    reply = await store.execute(step)
                    is_urgent = is_urgent or _leads(reply)
                except StoreUnavailable as fault:
                    error = fault
            if turns.is_over():
                await turns.wait(is_urgent=is_urgent)
            step = plan.send(reply) if error is None else plan.throw(error)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        plan.close()


def _leads(reply: Reply) -> bool:
    return isinstance(reply, StoreReply) and reply.lease is not None and reply.lease.is_ours
