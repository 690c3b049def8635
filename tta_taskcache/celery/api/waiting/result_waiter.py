"""Waiting for results in event loops: one thread asks for all of them together."""

from __future__ import annotations

import asyncio
import os
import threading
from time import sleep
from typing import Any
from weakref import WeakSet

from celery import Celery
from celery.result import AsyncResult

#: Seconds between two questions: at first, and at most, while nothing is ready.
FIRST_PAUSE = 0.01
MAX_PAUSE = 0.25

#: Results that are asked for in one round trip.
AT_ONCE = 500


class ResultWaiter:
    """Waits for the results of an app, for callers that must not block.

    The thread ends when nothing is waited for.

    Args:
        app: The app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = {}
        self._is_running = False

    async def wait(self, result: AsyncResult) -> None:
        """Wait until a result is there."""
        if not hasattr(self._app.backend, "get_many"):
            # It has to be asked for each by itself.
            await asyncio.to_thread(result.get, propagate=False, disable_sync_subtasks=False)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting[result.id] = (loop, future)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._work, name="taskcache-results", daemon=True).start()
        try:
            await future
        finally:
            with self._lock:
                self._waiting.pop(result.id, None)

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._lock:
                ids = list(self._waiting)
                if not ids:
                    self._is_running = False
                    return
            try:
                ready = self._ready(ids)
            except Exception as error:  # noqa: BLE001 - it is the callers' to handle
                self._end(ids, error)
                continue
            self._end(ready)
            pause = FIRST_PAUSE if ready else min(pause * 2, MAX_PAUSE)
            sleep(pause)

    def _ready(self, ids: list[str]) -> list[str]:
        ready: list[str] = []
        for start in range(0, len(ids), AT_ONCE):
            some = set(ids[start : start + AT_ONCE])
            found: Any = self._app.backend.get_many(some, interval=0.0, max_iterations=1)
            ready += [task_id for task_id, _ in found]
        return ready

    def _end(self, ids: list[str], error: Exception | None = None) -> None:
        with self._lock:
            ended = [self._waiting.pop(task_id, None) for task_id in ids]
        for each in ended:
            if each is not None:
                loop, future = each
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_set, future, error)


def _set(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


_all: WeakSet[ResultWaiter] = WeakSet()


def _reset_in_child() -> None:
    for waiter in list(_all):
        waiter._reset()  # its thread, and the loops, are the parent's


os.register_at_fork(after_in_child=_reset_in_child)
