"""Exchanges: what is sent to Redis and read from it, one after the other, without doing it.

An exchange is a generator that yields calls of a client and is sent what they return. A blocking
client returns replies and one of asyncio awaitables: the same exchange is held by either.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")

#: Yields calls, is sent their replies (their exceptions are thrown in), returns a ``T``.
Exchange = Generator[Callable[[], Any], Any, T]


def hold_exchange(exchange: Exchange[T]) -> T:
    """Hold an exchange with a blocking client."""
    try:
        call = next(exchange)
        while True:
            try:
                reply = call()
            except Exception as error:  # noqa: BLE001 - it is the exchange's to handle
                call = exchange.throw(error)
            else:
                call = exchange.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def hold_exchange_in_loop(exchange: Exchange[T]) -> T:
    """Hold an exchange with a client of asyncio."""
    try:
        call = next(exchange)
        while True:
            try:
                reply = await call()
            except Exception as error:  # noqa: BLE001 - it is the exchange's to handle
                call = exchange.throw(error)
            else:
                call = exchange.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
