"""Steps that threads post to the worker's event loop: done there in order, in slices."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from ...patches.loop_wakeup import LoopCaller
from .batches import has_loop

Step = Callable[[], None]

#: Seconds that one slice may take; the loop has its turn in between.
SLICE = 0.005


class LoopPosts:
    """The steps that are to be done in the event loop; without one they are done at once.

    Args:
        consumer: Celery's consumer.
        failed: Told of a step's error: nothing may end the loop (promise F1).
    """

    def __init__(self, consumer: Any, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._steps: deque[Step] = deque()
        self._is_due = False
        self._loop = LoopCaller(consumer.hub) if has_loop(consumer) else None

    def start(self) -> None:
        """Be heard by the loop; again with each connection."""
        if self._loop is not None:
            self._loop.listen()

    def post(self, step: Step) -> None:
        """Have a step done."""
        if self._loop is None:
            self._do(step)
            return
        self._steps.append(step)
        self._call(self._loop)

    def run_all(self) -> None:
        """Do what was posted, now: the loop won't any more."""
        while self._steps:
            self._do(self._steps.popleft())

    def _run(self) -> None:
        self._is_due = False  # first: what is posted from now on asks for another turn
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
