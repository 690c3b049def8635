"""Steps that threads post to the worker's event loop, which runs them in order, in slices."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from ...patches.worker.loop_wakeup import LoopCaller
from .batches import has_loop

Step = Callable[[], None]

#: Seconds of steps in one slice; the loop goes on between two slices.
SLICE = 0.005


class LoopPosts:
    """Steps for the event loop; in workers without one, each step runs at once.

    Args:
        consumer: Celery's consumer.
        failed: Receives a step's error, which must not end the loop (promise F1).
    """

    def __init__(self, consumer: Any, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._steps: deque[Step] = deque()
        self._is_due = False
        self._loop = LoopCaller(consumer.hub) if has_loop(consumer) else None

    def start(self) -> None:
        """Register with the loop; called for each new broker connection."""
        if self._loop is not None:
            self._loop.listen()

    def post(self, step: Step) -> None:
        """Run a step in the event loop, soon."""
        if self._loop is None:
            self._do(step)
            return
        self._steps.append(step)
        self._call(self._loop)

    def run_all(self) -> None:
        """Run all posted steps now; at shutdown, when the loop has ended."""
        while self._steps:
            self._do(self._steps.popleft())

    def _run(self) -> None:
        self._is_due = False  # before the steps: those posted from now on need another call
        end = monotonic() + SLICE
        while self._steps:
            self._do(self._steps.popleft())
            if monotonic() >= end:
                break
        if self._steps and self._loop is not None:
            self._call(self._loop)

    def _call(self, loop: LoopCaller) -> None:
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._run)

    def _do(self, step: Step) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            self._failed(error)
