"""What the cache does with calls, as an SDK sees it: each scene is one web request."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from celery import chain

from tests.integration.traces.spans import Span, tree
from tests.support.results import take_leave
from tests.support.servers import Server, available
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache.core.events import Coalesced, Ran, Waiting


class Scenes:
    """An app with a worker, and what it does.

    Args:
        worker: The worker, if it is a process of its own; None for one in threads of this process.
    """

    def __init__(self, worker: Worker | None) -> None:
        # Of the environment; and an SDK has to be set up before Celery's worker is imported.
        from tests.integration.traces import traced_app  # noqa: PLC0415

        self.traced, self.recording, self.worker = traced_app, traced_app.recording, worker
        self.names, self.keys = dict[str, str](), set[str]()

    @contextmanager
    def scene(self) -> Iterator[list[str]]:
        """Inside, a request is served; the lines are there afterwards."""
        self.settle()
        lines: list[str] = []
        with self.traced.sdk.request():
            yield lines
        lines += tree(self.settle(), self.names)

    def settle(self) -> list[Span]:
        """Wait until nothing is on its way any more, and take the spans."""
        wait_until(lambda: self.recording.is_quiet, what="all spans to end")
        # A task's span ends after its result is there; a worker without any has ended all.
        wait_until(self._worker_is_idle, what="the worker to be idle")
        wait_until(lambda: self.recording.is_quiet, what="all spans to end")
        spans = self.recording.take()
        self.names |= {span.id: span.name for span in spans}
        self.keys |= {str(span.attributes.get("cache.key", "")) for span in spans} - {""}
        return spans

    def _worker_is_idle(self) -> bool:
        if self.worker is None:
            from celery.worker import state  # noqa: PLC0415 - likewise

            return not state.reserved_requests
        ask = self.traced.app.control.inspect([self.worker.hostname], timeout=5)
        here = self.worker.hostname
        return not (ask.reserved() or {here: True})[here] and not ask.active()[here]

    def play(self) -> dict[str, list[str]]:
        """All scenes, by name."""
        return {
            "A miss": self.call(self.traced.doubling, 1),
            "A hit at the producer": self.call(self.traced.doubling, 1),
            "A miss at the consumer": self.call(self.traced.at["consumer"], 1),
            "A hit at the consumer": self.call(self.traced.at["consumer"], 1),
            "A miss in the pool": self.call(self.traced.at["pool"], 1),
            "A hit in the pool": self.call(self.traced.at["pool"], 1),
            "A follower": self.follower(),
            "A chain: a stored step, and one that runs": self.chain(),
            "A stale hit with its refresh": self.stale_hit(),
        }

    def call(self, task: Any, x: int) -> list[str]:
        with self.scene() as lines:
            task.delay(x).get(timeout=30)
        return lines

    def follower(self) -> list[str]:
        self.traced.shut.touch()
        leader = self.traced.doubling.delay(2)
        with self.scene_of_follower() as lines:
            follower = self.traced.doubling.delay(2)
            wait_until(lambda: self.recording.seen(Waiting, count=1), what="a follower")
            self.traced.shut.unlink()
            assert follower.get(timeout=30) == leader.get(timeout=30)
        return lines

    @contextmanager
    def scene_of_follower(self) -> Iterator[list[str]]:
        """A scene that begins while a task runs, which is none of its own."""
        lines: list[str] = []
        waited = self.recording.seen(Coalesced)
        with self.traced.sdk.request():
            yield lines
        wait_until(lambda: self.recording.seen(Coalesced) > waited, what="the follower's end")
        lines += _trees_of_requests(tree(self.settle(), self.names))

    def chain(self) -> list[str]:
        double = self.traced.doubling
        double.delay(50).get(timeout=30)
        with self.scene() as lines:
            chain(double.s(50), double.s()).delay().get(timeout=30)
        return lines

    def stale_hit(self) -> list[str]:
        stale = self.traced.stale
        stale.delay(1).get(timeout=30)
        wait_until(lambda: stale.cache.explain(1).stale, what="a stale entry")
        ran = self.recording.seen(Ran, task="stale")
        with self.scene() as lines:
            stale.delay(1).get(timeout=30)
            wait_until(lambda: self.recording.seen(Ran, task="stale") > ran, what="the refresh")
        return lines

    def context(self) -> tuple[str, list[str]]:
        """What a chain's last step knows of the context, and what is stored of the steps."""
        with self.traced.sdk.request(), self.traced.cache.context(tenant="acme"):
            steps = chain(*(self.traced.tenant.si(step) for step in range(3))).delay()
            told = steps.get(timeout=30)
        return told, self.traced.cache.keys("*tenant*")


def _trees_of_requests(all_lines: list[str]) -> list[str]:
    """The trees that begin with a request: the leader's is another's."""
    lines: list[str] = []
    wanted = False
    for line in all_lines:
        if not line.startswith(" "):
            wanted = "GET /" in line
        if wanted:
            lines.append(line)
    return lines


def play(sdk: str, pool: str) -> dict[str, Any]:
    """All scenes with one SDK: their trees, and what else there is to check.

    Args:
        sdk: The SDK's name.
        pool: ``threads`` of this process, or ``prefork``: a worker of its own.
    """
    with Server(available()[0]) as server, TemporaryDirectory() as folder:
        redis = server.url(0).rpartition("/")[0]
        ours = {"TRACES_SDK": sdk, "TRACES_FOLDER": folder, "TRACES_REDIS": redis}
        os.environ |= ours
        with _worker(pool, ours | {"CELERY_BROKER_URL": server.url(0)}) as worker:
            scenes = Scenes(worker)
            trees = scenes.play()
            figures = scenes.traced.sdk.figures() | {"keys": sorted(scenes.keys)}
            played = {"trees": trees, "figures": figures, "context": scenes.context()}
        take_leave(scenes.traced.app)
        return played


def _worker(pool: str, env: dict[str, str]) -> AbstractContextManager[Worker | None]:
    if pool == "prefork":
        # One process, so that its memory has what it has stored.
        return Worker("tests.integration.traces.traced_app", env=env, concurrency=1)
    return _worker_in_threads()


@contextmanager
def _worker_in_threads() -> Iterator[None]:
    from tests.integration.traces.traced_app import app  # noqa: PLC0415, I001 - likewise
    from celery.contrib.testing.worker import start_worker  # noqa: PLC0415

    with start_worker(
        app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="ERROR"
    ):
        yield
