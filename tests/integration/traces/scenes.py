"""What the cache does with calls, as an SDK sees it: each scene is one web request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, chain
from celery.contrib.testing.worker import start_worker
from celery.worker import state

from tests.integration.traces.spans import Sdk, Span, tree
from tests.support.servers import Server, available
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.core.events import Coalesced, Event, Ran, Waiting


class Scenes:
    """An app with a worker in threads of this process, and what it does."""

    def __init__(self, server: Server, sdk: Sdk) -> None:
        self.sdk, self.events = sdk, list[Event]()
        self.app = app = Celery("scenes", set_as_current=False)
        app.conf.update(
            broker_url=server.url(0),
            result_backend=server.url(1),
            taskcache_url=server.url(2),
            taskcache_timeout=5,
            broker_connection_retry_on_startup=True,
        )
        self.cache = TaskCache(app, observers=[sdk.observer, self.events.append])
        self.gate = threading.Event()
        self.gate.set()

        def double(x: int) -> int:
            assert self.gate.wait(30)
            return 2 * x

        def task(name: str, **options: Any) -> Any:
            return app.task(name=name, base=CachedTask, shared=False, **options)(double)

        self.double = task("double", cache_key="user:{x}")
        self.at = {site: task(site, cache_sites=(site,)) for site in ("consumer", "pool")}
        self.stale = task("stale", cache_ttl=0.05, cache_stale_while_revalidate=60)
        app.finalize()

    def seen(self, kind: type[Event], **about: Any) -> int:
        return sum(
            isinstance(event, kind)
            and all(getattr(event, name) == value for name, value in about.items())
            for event in list(self.events)
        )

    @contextmanager
    def scene(self) -> Iterator[list[str]]:
        """Inside, a request is served; the lines are there afterwards."""
        self.settle()
        lines: list[str] = []
        with self.sdk.request():
            yield lines
        lines += tree(self.settle())

    def settle(self) -> list[Span]:
        """Wait until nothing is on its way any more, and take the spans."""
        taken: list[Span] = []

        def is_still() -> bool:
            taken.extend(self.sdk.take())
            return self.sdk.is_quiet

        wait_until(is_still, what="all spans to end")
        # A task's span ends after its result is there; a worker without any has ended all.
        self._pool_is_idle()
        is_still()
        return taken

    def _pool_is_idle(self) -> None:
        wait_until(lambda: not state.reserved_requests, what="the worker to be idle")

    def play(self) -> dict[str, list[str]]:
        """All scenes, by name."""
        return {
            "A miss": self.call(self.double, 1),
            "A hit at the producer": self.call(self.double, 1),
            "A hit at the consumer": self.hit_at("consumer"),
            "A hit in the pool": self.hit_at("pool"),
            "A follower": self.follower(),
            "A chain: a stored step, and one that runs": self.chain(),
            "A stale hit with its refresh": self.stale_hit(),
        }

    def call(self, task: Any, x: int) -> list[str]:
        with self.scene() as lines:
            task.delay(x).get(timeout=30)
        return lines

    def hit_at(self, site: str) -> list[str]:
        self.at[site].delay(1).get(timeout=30)
        return self.call(self.at[site], 1)

    def follower(self) -> list[str]:
        self.gate.clear()
        leader = self.double.delay(2)
        with self.scene_of_follower() as lines:
            follower = self.double.delay(2)
            wait_until(lambda: self.seen(Waiting, count=1), what="a follower")
            self.gate.set()
            assert follower.get(timeout=30) == leader.get(timeout=30)
        return lines

    @contextmanager
    def scene_of_follower(self) -> Iterator[list[str]]:
        """A scene that begins while a task runs, which is none of its own."""
        lines: list[str] = []
        waited = self.seen(Coalesced)
        with self.sdk.request():
            yield lines
        wait_until(lambda: self.seen(Coalesced) > waited, what="the follower's end")
        spans = self.settle()
        lines += _trees_of_requests(spans)

    def chain(self) -> list[str]:
        self.double.delay(50).get(timeout=30)
        with self.scene() as lines:
            chain(self.double.s(50), self.double.s()).delay().get(timeout=30)
        return lines

    def stale_hit(self) -> list[str]:
        self.stale.delay(1).get(timeout=30)
        wait_until(lambda: self.stale.cache.explain(1).stale, what="a stale entry")
        ran = self.seen(Ran, task="stale")
        with self.scene() as lines:
            self.stale.delay(1).get(timeout=30)
            wait_until(lambda: self.seen(Ran, task="stale") > ran, what="the refresh")
        return lines


def _trees_of_requests(spans: list[Span]) -> list[str]:
    """The trees that begin with a request: the leader's is another's."""
    lines: list[str] = []
    wanted = False
    for line in tree(spans):
        if not line.startswith(" "):
            wanted = "GET /" in line
        if wanted:
            lines.append(line)
    return lines


def play(sdk: Sdk) -> dict[str, list[str]]:
    """All scenes with one SDK."""
    with Server(available()[0]) as server:
        scenes = Scenes(server, sdk)
        with start_worker(
            scenes.app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="ERROR"
        ):
            return scenes.play()
