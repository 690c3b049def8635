"""Values of one event loop each, such as connections and futures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LoopLocal(Generic[T]):
    """A value for each event loop, made at its first use there.

    Args:
        make: Makes a value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """Return the value of the running event loop.

        Raises:
            RuntimeError: No event loop is running.
        """
        loop = asyncio.get_running_loop()
        try:
            return self._values[loop]
        except KeyError:
            for other in list(self._values):  # closed loops need no value
                if other.is_closed():
                    self._values.pop(other, None)
            value = self._values[loop] = self._make()
            return value

    def take(self) -> T | None:
        """Remove and return the value of the running event loop, if there is one."""
        return self._values.pop(asyncio.get_running_loop(), None)
