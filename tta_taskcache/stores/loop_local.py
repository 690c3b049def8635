"""What each event loop has of its own: connections and futures belong to one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LoopLocal(Generic[T]):
    """A value for each loop, made when it is first asked for there.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The value of the loop that runs here.

        Raises:
            RuntimeError: None does.
        """
        loop = asyncio.get_running_loop()
        try:
            return self._values[loop]
        except KeyError:
            for other in list(self._values):  # what is closed asks no more
                if other.is_closed():
                    self._values.pop(other, None)
            value = self._values[loop] = self._make()
            return value

    def take(self) -> T | None:
        """Give up the value of the loop that runs here, if there is one."""
        return self._values.pop(asyncio.get_running_loop(), None)
