"""Work of plans beside the store: the user's callables, and computing that takes long.

In a thread it is done there; in an event loop without blocking it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from ..cache.plan import Work
from ..core.record import record


@record
class CallingUser(Work):
    """A call of a user's callable, sync or async. In a loop a sync one runs in a thread.

    Attributes:
        function: The callable.
        args: Its arguments.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def run(self) -> Any:
        """Call it; an async one runs in an event loop of its own."""
        result = self.function(*self.args)
        return _wait_for(result) if inspect.isawaitable(result) else result

    async def run_in_loop(self) -> Any:
        """Call it, or await it."""
        if is_async(self.function):
            return await self.function(*self.args)
        result = await asyncio.to_thread(self.function, *self.args)
        return await result if inspect.isawaitable(result) else result


@record
class Computing(Work):
    """Computing that would keep a loop for long: there it is done in a thread.

    Whoever is cancelled waits until it is done, as it changes what others go on with.
    """

    function: Callable[[], Any]

    def run(self) -> Any:
        """Compute."""
        return self.function()

    async def run_in_loop(self) -> Any:
        """Compute in a thread."""
        done = asyncio.ensure_future(asyncio.to_thread(self.function))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            while not done.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([done])
            raise


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling a callable returns a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - it may be async
    )


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_result_of(awaitable))
    # The caller's thread runs a loop, which can't run another meanwhile.
    done: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(_result_of(awaitable)))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            failed.append(error)

    thread = Thread(target=run, name="taskcache-embed")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
