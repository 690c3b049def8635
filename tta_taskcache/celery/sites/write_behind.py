"""Write-behind: results of hits at the producer are stored a moment after their calls return.

A thread stores all that has come within some milliseconds in one pipeline. They are stored at once
where somebody in this process asks a result backend, before a fork and at the process's end. Only a
process that is killed loses those of the last moment.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from billiard.exceptions import SoftTimeLimitExceeded
from celery import signals

from ...observability.logs import log_fields
from ..patches.results.new_results import NewResult, store_new
from ..patches.results.result_reads import before_reads

logger = logging.getLogger("tta_taskcache")

#: Seconds that the thread waits for more results, after the first.
LINGER = 0.004

#: Most results that wait: a call that makes one more stores them all itself.
MOST = 10_000


class WriteBehind:
    """Stores results in batches.

    Args:
        linger: Seconds that a result may wait for others.
        most: Results that may wait.
    """

    def __init__(self, linger: float = LINGER, most: int = MOST) -> None:
        self._linger, self._most = linger, most
        self._waiting: deque[tuple[NewResult, Callable[[Exception], None]]] = deque()
        self._reset()

    def _reset(self) -> None:
        self._writing = threading.RLock()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting.clear()

    def put(self, result: NewResult, failed: Callable[[Exception], None]) -> None:
        """Have a result stored.

        Args:
            result: The result.
            failed: Told when the backend doesn't take it.
        """
        self._waiting.append((result, failed))
        if self._thread is None:
            before_reads(self.flush)
            self._start()
        if len(self._waiting) >= self._most:
            self.flush()
        if not self._woken.is_set():
            self._woken.set()

    def flush(self) -> None:
        """Store all that waits, and what another thread is storing, before this returns."""
        if self._thread is not None:
            with self._writing:
                self._write()

    def _write(self) -> None:
        batch = []
        try:
            while self._waiting:
                batch.append(self._waiting.popleft())
            store_new([result for result, _ in batch])
        except SoftTimeLimitExceeded:
            self._waiting.extendleft(reversed(batch))  # the limit is the calling task's
            raise
        except Exception as error:  # noqa: BLE001 - each call is told
            about = log_fields("WriteBehind", error=error)
            logger.error(  # noqa: TRY400 - the caller's frames say nothing
                "%d results of hits are lost: %r", len(batch), error, extra=about
            )
            for _, failed in batch:
                failed(error)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="taskcache-write-behind", daemon=True)
        self._thread = thread
        thread.start()

    def _run(self) -> None:
        woken = self._woken
        while True:
            woken.wait()
            time.sleep(self._linger)
            woken.clear()
            with self._writing:
                self._write()

    def before_fork(self) -> None:
        """Store all, and let nothing be stored until the process has forked."""
        self.flush()
        self._writing.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._writing.release()

    def after_fork_in_child(self) -> None:
        """Start anew, without the parent's thread and results."""
        self._reset()


#: Of this process.
write_behind = WriteBehind()

os.register_at_fork(
    before=write_behind.before_fork,
    after_in_parent=write_behind.after_fork_in_parent,
    after_in_child=write_behind.after_fork_in_child,
)


@signals.worker_process_shutdown.connect
def _flush(**_: object) -> None:
    write_behind.flush()


atexit.register(write_behind.flush)
