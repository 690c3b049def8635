"""Real Celery workers, each a subprocess with a process group of its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from uuid import uuid4

import psutil
from celery import Celery

from tests.support.processes import Process
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
# Celery puts CELERY_BROKER_URL above an app's own configuration: a developer's redirects the tests.
# COLUMNS and LINES are set by who runs tests side by side: a pipe would be as narrow as a screen.
AMBIENT = ("CELERY_", "TASKCACHE_", "FLOWER_", "COLUMNS", "LINES")


class WorkerError(RuntimeError):
    """A worker ended or didn't answer; the message ends with its log."""


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would configure things behind a test's back."""
    return {name: value for name, value in environment.items() if not name.startswith(AMBIENT)}


class Worker:
    """`celery -A module worker`, started and answering: `with Worker("tests.support.app", env=…)`.

    `env` must hold `CELERY_BROKER_URL`, which any app obeys; it is where we ask for an answer, too.
    """

    def __init__(
        self,
        module: str,
        *,
        env: Mapping[str, str],
        pool: str = "prefork",
        concurrency: int = 2,
        queues: Sequence[str] = (),
        args: Sequence[str] = (),
        timeout: float = 30,
    ) -> None:
        self.hostname = f"{pool}-{uuid4().hex[:8]}@tests"
        self._broker = env["CELERY_BROKER_URL"]
        command = [sys.executable, "-m", "celery", "-A", module, "worker", "--loglevel=INFO"]
        command += ["--without-gossip", "--without-mingle", f"--hostname={self.hostname}"]
        command += [f"--pool={pool}", f"--concurrency={concurrency}"]
        command += [f"--queues={','.join(queues)}"] if queues else []
        self._process = Process(
            [*command, *args],
            env=clean_environment(os.environ) | {"PYTHONUNBUFFERED": "1"} | dict(env),
            cwd=ROOT,
        )
        try:
            self._wait_until_it_answers(timeout)
        except BaseException:
            self.kill()
            raise

    def __repr__(self) -> str:
        return f"<Worker {self.hostname}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def main_pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.exit_code is None

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code

    @property
    def log(self) -> str:
        return self._process.log

    def pool_pids(self) -> list[int]:
        """The processes of its pool; none with a pool that doesn't use processes."""
        return [child.pid for child in psutil.Process(self.main_pid).children()]

    def stop(self, timeout: float = 15) -> None:
        """Warm shutdown: running tasks may finish within `timeout`. What is left then is killed."""
        self._process.terminate(timeout)

    def kill(self) -> None:
        """End all of its processes at once, as losing the machine does.

        To lose only one of them: `os.kill(worker.main_pid, SIGKILL)` or one of `pool_pids()`.
        """
        self._process.kill()

    def _wait_until_it_answers(self, timeout: float) -> None:
        with Celery(broker=self._broker, set_as_current=False) as app:

            def answers() -> bool:
                if not self.running:
                    raise WorkerError(f"{self} ended with {self.exit_code}:\n{self.log}")
                # A connection of our own: pooled ones are those of other tests, whose servers may
                # have been restarted meanwhile.
                with app.connection_for_write() as connection:
                    ping = app.control.ping
                    return bool(ping([self.hostname], timeout=0.2, connection=connection))

            try:
                wait_until(answers, timeout=timeout)
            except TimeoutError:
                raise WorkerError(f"{self} didn't answer in {timeout} s:\n{self.log}") from None


class FolderWorker(Worker):
    """A worker whose broker are folders: it isn't asked for an answer, its log says it is ready."""

    def _wait_until_it_answers(self, timeout: float) -> None:
        def is_ready() -> bool:
            if not self.running:
                raise WorkerError(f"{self} ended with {self.exit_code}:\n{self.log}")
            return f"{self.hostname} ready." in self.log

        wait_until(is_ready, timeout=timeout, what=f"{self} to be ready")
