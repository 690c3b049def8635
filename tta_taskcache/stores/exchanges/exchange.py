"""Exchanges: sequences of commands to Redis and their replies, free of I/O.

An exchange is a generator that yields calls of a client and is sent their replies. The same
exchange runs with a blocking client, which returns replies, and with one of asyncio, which returns
awaitables.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")

#: Yields calls, receives their replies or exceptions, returns a ``T``.
Exchange = Generator[Callable[[], Any], Any, T]


def hold_exchange(exchange: Exchange[T]) -> T:
    """Run an exchange with a blocking client."""
    try:
        call = next(exchange)
        while True:
            try:
                reply = call()
            except Exception as error:  # noqa: BLE001 - the exchange handles it
                call = exchange.throw(error)
            else:
                call = exchange.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def hold_exchange_in_loop(exchange: Exchange[T]) -> T:
    """Run an exchange with an asyncio client."""
    try:
        call = next(exchange)
        while True:
            try:
                reply = await call()
            except Exception as error:  # noqa: BLE001 - the exchange handles it
                call = exchange.throw(error)
            else:
                call = exchange.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
