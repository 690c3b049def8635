"""Plans: one engine for sync and asyncio.

A plan is a generator that yields store commands, pauses and other work, and is sent the replies; it
returns its result. It does no I/O itself, so the same plan is driven by ``run`` here,
or by ``async_driver.run_in_loop``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from time import sleep
from typing import Any, Protocol, TypeVar

from ..core.entries.entry import Position
from ..core.record import record
from ..errors import StoreUnavailable
from ..stores.protocol import Command, Counts, Look, LookMany, Store, StoreReply

T = TypeVar("T")

#: Most looks or fills in one round trip: bounds the size of its request and of its reply.
AT_ONCE = 500


class Wakeup(Protocol):
    """A wake-up call, which ends a pause early."""

    def wait(self, seconds: float) -> None:
        """Block until woken, or for so many seconds."""
        ...

    async def wait_in_loop(self, seconds: float) -> None:
        """Wait in a loop until it rings, or that long."""
        ...


@record
class Pause:
    """A wait of so many seconds, or until woken."""

    seconds: float
    wakeup: Wakeup | None = None


class Work:
    """Work that isn't the store's, such as a call of a user's function.

    What it raises is thrown into the plan.
    """

    __slots__ = ()

    def run(self) -> Any:
        """Do it, blocking, and return its result."""
        raise NotImplementedError

    async def run_in_loop(self) -> Any:
        """Do it without blocking the event loop, and return its result."""
        raise NotImplementedError


#: Yields commands, pauses and work, is sent replies, returns a ``T``. ``StoreUnavailable`` is
#: thrown in, as is what work raises.
Plan = Generator[Command | Pause | Work, Any, T]


def run(plan: Plan[T], store: Store) -> T:
    """Drive a plan to its end, blocking for each command and pause."""
    try:
        step = next(plan)
        while True:
            if isinstance(step, Pause):
                _rest(step)
                step = plan.send(None)
                continue
            try:
                reply = step.run() if isinstance(step, Work) else store.execute(step)
            except StoreUnavailable as error:
                step = plan.throw(error)
            except Exception as error:
                if not isinstance(step, Work):
                    raise
                step = plan.throw(error)
            else:
                step = plan.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result


def execute_looks(
    looks: Sequence[Look], since: Position | None, counts: Counts
) -> Plan[list[StoreReply]]:
    """Execute looks with one command; return their replies in order."""
    if len(looks) > 1:
        many: list[StoreReply] = yield LookMany(tuple(looks), since, counts)
        return many
    one: StoreReply = yield replace(looks[0], since=since, counts=counts)
    return [one]


def _rest(pause: Pause) -> None:
    if pause.wakeup is None:
        sleep(pause.seconds)
    else:
        pause.wakeup.wait(pause.seconds)
