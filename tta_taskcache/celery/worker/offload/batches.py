"""Work that is done in batches: all that has arrived at once, in a thread or on the spot."""

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

#: Jobs in a batch at most.
AT_ONCE = 500

#: Seconds that the thread lets more arrive while jobs come so close to one another: a batch of five
#: costs half as much as five of one. A job that comes alone isn't kept waiting.
LINGER = 0.01
CLOSE_TOGETHER = 0.02

#: Seconds between two looks whether all is done.
LOOK_AGAIN = 0.005


class Batches(Protocol[Job]):
    """Takes jobs, and has them done."""

    def put(self, job: Job) -> None:
        """Give it a job."""
        ...

    def more(self) -> list[Job]:
        """Between two pieces of work: return what has arrived meanwhile, to be done as well."""
        ...

    def waited(self) -> float:
        """Seconds since the piece of work in hand was begun; 0 when there is none."""
        ...

    def forks_allowed(self) -> AbstractContextManager[None]:
        """Inside, forks may happen: for work that holds nothing that a child needs."""
        ...

    def give_way(self) -> None:
        """Between two pieces of work: let a fork that waits go first."""
        ...

    def settle(self, seconds: float) -> bool:
        """Wait until all is done, for so long at most; says whether it is."""
        ...


def has_loop(consumer: Any) -> bool:
    """Whether a worker has an event loop that threads can relieve.

    Not the solo pool's, which stands still while a task runs. gevent and eventlet have none: other
    greenlets go on while the consumer's waits.
    """
    return consumer.hub is not None and not isinstance(consumer.pool, SoloPool)


class OnTheSpot(Generic[Job]):
    """Does each job where it is given, as a batch of its own.

    Args:
        work: Does a batch.
    """

    def __init__(self, work: Callable[[list[Job]], None]) -> None:
        self._work = work

    def put(self, job: Job) -> None:
        """Do a job."""
        self._work([job])

    def more(self) -> list[Job]:
        """Return nothing: what comes meanwhile is done where it comes."""
        return []

    def waited(self) -> float:
        """Return 0: nothing waits."""
        return 0.0

    def forks_allowed(self) -> AbstractContextManager[None]:
        """Do nothing: whoever forks isn't in here."""
        return nullcontext()

    def give_way(self) -> None:
        """Do nothing, likewise."""

    def settle(self, _: float) -> bool:
        """Return True: nothing is left."""
        return True


class BatchThread(Generic[Job]):
    """A thread that does the jobs it is given, all that have arrived at once.

    Args:
        name: The thread's name.
        work: Does a batch. It raises nothing: each job is to come to an end.
    """

    def __init__(self, name: str, work: Callable[[list[Job]], None]) -> None:
        self._name = name
        self._work = work
        self._gate = ForkGate()
        self._inbox: SimpleQueue[Job] = SimpleQueue()
        self._thread: Thread | None = None
        #: When the piece of work in hand was begun, and the last batch was taken.
        self._since: float | None = None
        self._taken_at = 0.0
        self._given = self._done = 0

    def put(self, job: Job) -> None:
        """Give it a job."""
        self._given += 1
        self._inbox.put(job)
        if self._thread is None:
            self._start()

    def more(self) -> list[Job]:
        """Between two pieces of work: return what has arrived meanwhile, to be done as well."""
        self._since = monotonic()
        jobs = self._arrived()
        self._done += len(jobs)  # those of the batch are counted at its end
        return jobs

    def waited(self) -> float:
        """Seconds since the piece of work in hand was begun; 0 when there is none."""
        since = self._since
        return 0.0 if since is None else monotonic() - since

    def forks_allowed(self) -> AbstractContextManager[None]:
        """Inside, forks may happen: for work that holds nothing that a child needs."""
        return self._gate.opened()

    def give_way(self) -> None:
        """Between two pieces of work: let a fork that waits go first."""
        self._gate.give_way()

    def settle(self, seconds: float) -> bool:
        """Wait until all is done, for so long at most; says whether it is."""
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
        except RuntimeError:  # there may be no more threads
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
    """What does jobs in batches, in the way that fits a worker's pool.

    Args:
        consumer: Celery's consumer.
        name: Name of the thread, if there is one.
        work: Does a batch; raises nothing.
    """
    if has_loop(consumer):
        return BatchThread(name, work)
    return OnTheSpot(work)
