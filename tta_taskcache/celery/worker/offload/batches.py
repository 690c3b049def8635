"""Jobs done in batches, each of all jobs that have arrived: in a thread, or in the caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Generic, Protocol, TypeVar

from celery.concurrency.solo import TaskPool as SoloPool

from .fork_gate import ForkGate

Job = TypeVar("Job")

#: Most jobs in a batch.
AT_ONCE = 500

#: Seconds that the thread waits for further jobs, when the last batch began less than so many
#: seconds ago: a batch of five costs half as much as five of one. A single job isn't delayed.
LINGER = 0.01
CLOSE_TOGETHER = 0.02

#: Seconds between two checks whether all jobs are done.
LOOK_AGAIN = 0.005


class Batches(Protocol[Job]):
    """Does jobs in batches."""

    def put(self, job: Job) -> None:
        """Add a job."""
        ...

    def more(self) -> list[Job]:
        """Return the jobs that have arrived meanwhile; called by the work between two steps."""
        ...

    def waited(self) -> float:
        """Return the seconds since the current step began; 0 when idle."""
        ...

    def forks_allowed(self) -> AbstractContextManager[None]:
        """Allow forks inside the context: for work that holds no lock a child process needs."""
        ...

    def give_way(self) -> None:
        """Let a waiting fork go first; called by the work between two steps."""
        ...

    def settle(self, seconds: float) -> bool:
        """Wait until all jobs are done, for at most so many seconds; return whether they are."""
        ...


def has_loop(consumer: Any) -> bool:
    """Whether a worker has an event loop that threads can take work from.

    The solo pool's doesn't count, as tasks block it. gevent and eventlet have no event loop: other
    greenlets go on while the consumer's waits.
    """
    return consumer.hub is not None and not isinstance(consumer.pool, SoloPool)


class OnTheSpot(Generic[Job]):
    """Does each job in the caller, as a batch of its own.

    Args:
        work: Does a batch.
    """

    def __init__(self, work: Callable[[list[Job]], None]) -> None:
        self._work = work

    def put(self, job: Job) -> None:
        """Do a job."""
        self._work([job])

    def more(self) -> list[Job]:
        """Return no jobs: each is done by its own caller."""
        return []

    def waited(self) -> float:
        """Return 0: no job waits."""
        return 0.0

    def forks_allowed(self) -> AbstractContextManager[None]:
        """Do nothing: there is no thread to exclude forks from."""
        return nullcontext()

    def give_way(self) -> None:
        """Do nothing: there is no thread to exclude forks from."""

    def settle(self, _: float) -> bool:
        """Return True: no job is left."""
        return True


class BatchThread(Generic[Job]):
    """A thread that does jobs in batches.

    Args:
        name: The thread's name.
        work: Does a batch; never raises, so that each job is ended.
    """

    def __init__(self, name: str, work: Callable[[list[Job]], None]) -> None:
        self._name = name
        self._work = work
        self._gate = ForkGate()
        self._inbox: SimpleQueue[Job] = SimpleQueue()
        self._thread: Thread | None = None
        #: Start times of the current step (None when idle), and of the last batch.
        self._since: float | None = None
        self._taken_at = 0.0
        self._given = self._done = 0

    def put(self, job: Job) -> None:
        """Add a job."""
        self._given += 1
        self._inbox.put(job)
        if self._thread is None:
            self._start()

    def more(self) -> list[Job]:
        """Return the jobs that have arrived meanwhile; called by the work between two steps."""
        self._since = monotonic()
        jobs = self._arrived()
        self._done += len(jobs)  # the batch's first jobs are counted at its end
        return jobs

    def waited(self) -> float:
        """Return the seconds since the current step began; 0 when idle."""
        since = self._since
        return 0.0 if since is None else monotonic() - since

    def forks_allowed(self) -> AbstractContextManager[None]:
        """Allow forks inside the context: for work that holds no lock a child process needs."""
        return self._gate.opened()

    def give_way(self) -> None:
        """Let a waiting fork go first; called by the work between two steps."""
        self._gate.give_way()

    def settle(self, seconds: float) -> bool:
        """Wait until all jobs are done, for at most so many seconds; return whether they are."""
        end, pause = monotonic() + seconds, Event()
        while self._given > self._done or self._since is not None:
            if monotonic() >= end:
                return False
            pause.wait(LOOK_AGAIN)
        return True

    def _start(self) -> None:
        self._thread = Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the process has reached its limit of threads
            self._thread = None
            self._do(self._arrived())

    def _run(self) -> None:
        while True:
            first = self._inbox.get()
            now = monotonic()
            if now - self._taken_at < CLOSE_TOGETHER:
                sleep(LINGER)
            self._taken_at = now
            self._do([first, *self._arrived()])

    def _do(self, jobs: list[Job]) -> None:
        self._since = monotonic()
        try:
            with self._gate:
                self._work(jobs)
        finally:
            self._done += len(jobs)
            self._since = None

    def _arrived(self) -> list[Job]:
        jobs: list[Job] = []
        with suppress(Empty):
            while len(jobs) < AT_ONCE:
                jobs.append(self._inbox.get_nowait())
        return jobs


def make_batches(consumer: Any, name: str, work: Callable[[list[Job]], None]) -> Batches[Job]:
    """Return the batches that fit a worker's pool: a thread's beside an event loop.

    Args:
        consumer: Celery's consumer.
        name: The thread's name.
        work: Does a batch; never raises.
    """
    if has_loop(consumer):
        return BatchThread(name, work)
    return OnTheSpot(work)
