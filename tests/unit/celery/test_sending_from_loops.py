"""Calls from event loops are sent in threads: one at a time where Celery guards no subscription."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tta_taskcache.celery.api.waiting.async_calls import _apply

UNGUARDED = SimpleNamespace(result_consumer=object())
GUARDED = SimpleNamespace(result_consumer=SimpleNamespace(_pubsub_lock=None))


class Sending:
    """A task whose calls wait for one another, for a while, to be on their way at once."""

    def __init__(self, backend: Any, seconds: float) -> None:
        self.app = SimpleNamespace(backend=backend)
        self._meeting = threading.Barrier(2, timeout=seconds)

    def apply_async(self, _args: Any, _kwargs: Any) -> bool:
        try:
            self._meeting.wait()
        except threading.BrokenBarrierError:
            return False
        return True


@pytest.mark.parametrize(
    ("backend", "seconds", "at_once"), [(UNGUARDED, 0.2, False), (GUARDED, 60, True)]
)
def test_two_calls_are_sent_at_once_only_under_celerys_lock(
    backend: Any, seconds: float, at_once: bool
) -> None:
    task: Any = Sending(backend, seconds)
    with ThreadPoolExecutor(2) as threads:
        met = list(threads.map(lambda _: _apply(task, (), {}), range(2)))
    assert met == [at_once] * 2
