"""Plans: one engine for sync and asyncio.

A plan is a generator that yields store commands and is sent the replies; it returns its result. It
does no I/O itself, so the same plan is driven by ``run`` here or by an ``async`` driver.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..stores.protocol import Command, Store

T = TypeVar("T")

#: Yields commands, is sent replies, returns a ``T``. ``StoreUnavailable`` is thrown into it.
Plan = Generator[Command, Any, T]


def run(plan: Plan[T], store: Store) -> T:
    """Drive a plan to its end, blocking for each command."""
    try:
        command = next(plan)
        while True:
            try:
                reply = store.execute(command)
            except StoreUnavailable as error:
                command = plan.throw(error)
            else:
                command = plan.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
