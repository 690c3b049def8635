"""The application of the integration tests: the same in the tests' process and in its workers.

Each task counts its runs in Redis, wherever it runs. `gate` keeps a pool process busy until a test
opens it.
"""

import json
import os
import threading
import time
from typing import Any

import redis
from celery import Celery, Task, signals
from celery.exceptions import Ignore, Reject
from celery.result import allow_join_result
from kombu.exceptions import OperationalError

from tests.integration.dependencies.tasks import define_chain
from tta_taskcache import CachedTask
from tta_taskcache.celery.worker import follower_age

RUNS_DATABASE = 3
SLOW_TTL = 5.0
SITES = ("producer", "consumer", "pool")


def make_app(broker: str, backend: str, cache: str, **conf: Any) -> Celery:
    # Its bound for brokers of which none is known is too long for a test.
    follower_age.UNKNOWN = conf.pop("tests_longest_wait", follower_age.UNKNOWN)
    app = Celery("tests.integration.app", set_as_current=False)
    app.conf.update(
        broker_url=broker,
        result_backend=backend,
        taskcache_url=cache,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=8,
        taskcache_timeout=2.0,  # the machines of CI are slow; tests of the timeout set their own
    )
    app.conf.update(conf)
    # Not beside the broker, to which a test may cut the way.
    server = backend if backend.startswith("redis://") else broker
    url = server.rsplit("/", 1)[0] + f"/{RUNS_DATABASE}"
    counts = redis.Redis.from_url(url, socket_timeout=None)  # gates wait for long
    app.run_counts = counts
    _define(app, counts)
    app.finalize()
    return app


class Tasks:
    """The tasks, and how they count."""

    def __init__(self, app: Celery, counts: redis.Redis) -> None:
        self.app, self.counts = app, counts

    def ran(self, name: str, *args: Any) -> None:
        self.counts.incr(":".join(map(str, (name, *args))))

    def plain(self, name: str, **options: Any) -> Any:
        # Not shared: each app of the tests' process has tasks of its own.
        return self.app.task(name=name, shared=False, **options)

    def cached(self, name: str, **options: Any) -> Any:
        return self.plain(name, base=CachedTask, **options)

    def everywhere(self, name: str, function: Any, **options: Any) -> None:
        """One function, plain, cached, and cached for each site alone."""
        self.plain(f"plain.{name}", **options)(function)
        self.cached(f"cached.{name}", **options)(function)
        for site in SITES:
            self.cached(f"{site}.{name}", cache_sites=(site,), **options)(function)


def _define(app: Celery, counts: redis.Redis) -> None:
    tasks = Tasks(app, counts)
    _define_canvas(tasks)
    _define_values(tasks)
    _define_context(tasks)
    define_chain(tasks)
    _define_handlers(tasks)
    _define_steered(tasks)
    _define_asking(tasks)
    _define_stale(tasks)


class Gone(KeyError):
    """What `remembers` raises: a subclass of what its policy names, with arguments."""


def _define_stale(tasks: Tasks) -> None:
    """Sources that a test breaks and mends: each returns the number of its run."""
    counts = tasks.counts

    def source(tag: str) -> int:
        number = counts.incr(f"source:{tag}")
        if counts.exists(f"broken:{tag}"):
            raise ConnectionError(tag)
        return int(number)

    def everywhere(name: str, **options: Any) -> None:
        for kind, sites in {"cached": SITES, **{site: (site,) for site in SITES}}.items():
            tasks.cached(f"{kind}.{name}", cache_sites=sites, cache_ttl=0.5, **options)(source)

    everywhere("revalidated", cache_stale_while_revalidate=60)
    everywhere("queued", cache_stale_while_revalidate=60, cache_refresh_queue="refreshes")
    tried = {"autoretry_for": (ConnectionError,), "default_retry_delay": 0, "max_retries": 2}
    everywhere("kept", cache_stale_if_error=60, **tried)
    everywhere("kept_once", cache_stale_if_error=60)
    everywhere("dying", cache_stale_while_revalidate=1, cache_stale_if_error=3, **tried)
    everywhere("kept_shortly", cache_stale_if_error=1)

    def gone(tag: str) -> None:
        tasks.ran("gone", tag)
        raise Gone(tag, 404)

    for kind, sites in {"cached": SITES, **{site: (site,) for site in SITES}}.items():
        tasks.cached(f"{kind}.gone", cache_sites=sites, cache_errors={KeyError: 60})(gone)

    @tasks.cached("unreachable", cache_errors={OperationalError: 60})
    def unreachable(tag: str) -> None:
        """Fails with what a caller gets from its own broker."""
        tasks.ran("unreachable", tag)
        raise OperationalError(tag)

    tasks.cached("counted")(source)
    tasks.cached("gone_shortly", cache_errors={Gone: 0.3, KeyError: 60})(gone)

    _define_refusing(tasks)
    _define_slow(tasks)


def _define_slow(tasks: Tasks) -> None:
    # Chance may ask for a refresh at any time: a run takes longer than its result is fresh.
    @tasks.cached("early", cache_ttl=0.3, cache_stale_while_revalidate=60)
    def early(tag: str) -> int:
        time.sleep(0.4)
        return int(tasks.counts.incr(f"early:{tag}"))

    @tasks.cached("quick", cache_min_run=60)
    def quick(tag: str) -> int:
        return int(tasks.counts.incr(f"quick:{tag}"))

    def slow(tag: str) -> None:
        """For the benchmark: takes a second."""
        tasks.ran("slow", tag)
        time.sleep(1.0)

    for site in SITES:
        options = {"cache_sites": (site,), "cache_ttl": SLOW_TTL}
        tasks.cached(f"{site}.slow", **options)(slow)
        tasks.cached(f"{site}.slow_revalidated", cache_stale_while_revalidate=60, **options)(slow)


def _define_refusing(tasks: Tasks) -> None:
    counts = tasks.counts

    @tasks.cached("odd_only", cache_if=lambda number: number % 2)
    def odd_only(tag: str, number: int) -> int:
        tasks.ran("odd_only", tag, number)
        return number

    @tasks.cached("small_only", cache_max_bytes=10)
    def small_only(tag: str, size: int) -> str:
        tasks.ran("small_only", tag, size)
        return "x" * size

    @tasks.cached("checked", cache_validate=lambda word: not counts.exists(f"refused:{word}"))
    def checked(word: str) -> str:
        tasks.ran("checked", word)
        return word


def _define_steered(tasks: Tasks) -> None:
    counts = tasks.counts

    def steered(self: Task, tag: str, which: int = 0) -> Any:
        """Says that it has started, and does what a test then tells it to."""
        tasks.ran("steered", tag, which)
        counts.rpush(f"started:{tag}", f"{os.getpid()} {self.request.id}")
        order = counts.blpop([f"order:{self.request.id}", f"order:{tag}"], timeout=60)
        match order and order[1].decode():
            case "fail":
                raise ValueError(tag)
            case "retry":
                raise self.retry(countdown=0)
            case "ignore":
                raise Ignore
            case "reject":
                raise Reject("told so", requeue=False)
            case "replace":
                raise self.replace(tasks.app.tasks["note"].si("replaced", tag))
            case "set":
                return {1, 2}
            case word:
                return [word, self.request.id]

    tasks.cached("steered", bind=True, max_retries=9, cache_tags=("tag:{tag}",))(steered)
    due_at_once = {"cache_ttl": 0.001, "cache_stale_while_revalidate": 60}
    tasks.cached("steered_and_due", bind=True, **due_at_once)(steered)


def _define_asking(tasks: Tasks) -> None:
    """Tasks that ask for themselves, and wait for it."""

    @tasks.cached("asking", cache_ignore=("depth",))
    def asking(tag: str, way: str, depth: int = 0) -> str:
        tasks.ran("asking", tag, way, depth)
        if depth:
            return "answer"
        if way == "call":
            return asking.cache.call(tag, way, depth=1)
        others = {"each other": "asking_back", "message": "asking"}
        asked = tasks.app.tasks[others.get(way, "asking_plainly")]
        with allow_join_result():
            return asked.delay(tag, way, depth=1).get(timeout=60)

    @tasks.plain("asking_plainly")
    def asking_plainly(tag: str, way: str, depth: int) -> str:
        if way == "call by a plain task":
            return asking.cache.call(tag, way, depth=depth)
        with allow_join_result():
            return asking.delay(tag, way, depth=depth).get(timeout=60)

    @tasks.cached("asking_back", cache_ignore=("depth",))
    def asking_back(tag: str, way: str, depth: int) -> str:
        with allow_join_result():
            return asking.delay(tag, way, depth=depth).get(timeout=60)


def _define_canvas(tasks: Tasks) -> None:
    counts = tasks.counts

    def add(tag: str, x: int, y: int = 0) -> int:
        tasks.ran("add", tag, x, y)
        return x + y

    def more(x: int, tag: str, by: int = 1) -> int:
        """A step that goes on from the one before."""
        tasks.ran("more", tag, x, by)
        return x + by

    def collect(xs: list[int], tag: str) -> int:
        tasks.ran("collect", tag)
        return sum(xs)

    for function in (add, more, collect):
        tasks.everywhere(function.__name__, function)

    @tasks.plain("note")
    def note(value: Any, tag: str) -> None:
        """A callback with an effect."""
        counts.rpush(f"notes:{tag}", repr(value))

    @tasks.plain("note_error")
    def note_error(request: Any, error: Any, traceback: Any, tag: str) -> None:
        counts.rpush(f"errors:{tag}", repr(error))

    @tasks.plain("gate", ignore_result=True)
    def gate(name: str) -> None:
        counts.rpush(f"waiting:{name}", os.getpid())
        counts.blpop([f"open:{name}"], timeout=60)


def _define_values(tasks: Tasks) -> None:
    @tasks.cached("value")
    def value(tag: str, which: int) -> Any:
        tasks.ran("value", tag, which)
        return [None, 0, "", [], False, {}, {"a": [1]}][which]

    @tasks.cached("unserializable")
    def unserializable(tag: str) -> Any:
        tasks.ran("unserializable", tag)
        return {"a", tag}

    @tasks.cached("fails")
    def fails(tag: str) -> None:
        tasks.ran("fails", tag)
        raise ValueError(tag)

    @tasks.cached("retries", bind=True, default_retry_delay=0, max_retries=5)
    def retries(self: Task, tag: str) -> int:
        tasks.ran("retries", tag)
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)


class Rejecting(CachedTask):
    """Its handler refuses the message after the outcome is stored."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        if self.request.delivery_info:
            raise Reject("not after all", requeue=False)


class Audited(CachedTask):
    """Its handler says where it is, and waits until a test lets it go on."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        counts, thread = self.app.run_counts, threading.current_thread()
        counts.rpush(f"handlers:{retval}", f"{os.getpid()} {thread is threading.main_thread()}")
        counts.blpop([f"go-on:{retval}"], timeout=60)


def _define_handlers(tasks: Tasks) -> None:
    @tasks.plain("rejecting", base=Rejecting, cache_sites=("consumer",))
    def rejecting(tag: str) -> str:
        tasks.ran("rejecting", tag)
        return tag

    @tasks.plain("audited", base=Audited, cache_sites=("consumer",))
    def audited(tag: str) -> str:
        tasks.ran("audited", tag)
        return tag

    @tasks.plain("asks", bind=True)
    def asks(self: Task, tag: str) -> list[Any]:
        """A plain task that makes a cached call: what receivers of signals saw in the meantime."""
        seen: list[Any] = []

        def see(sender: Any = None, **_: Any) -> None:
            seen.append((sender.name, bool(sender.request.is_eager)))

        signals.task_prerun.connect(see)
        signals.task_postrun.connect(see)
        try:
            tasks.app.tasks["cached.add"].delay(tag, 1)
        finally:
            signals.task_prerun.disconnect(see)
            signals.task_postrun.disconnect(see)
        return seen


def _define_context(tasks: Tasks) -> None:
    @tasks.cached("tenant.of", cache_vary=("tenant",), bind=True)
    def of(self: Task, tag: str) -> str:
        tenant = (self.request.headers or {}).get("tenant", "nobody")
        tasks.ran("tenant.of", tag, tenant)
        return f"{tag}@{tenant}"

    @tasks.cached("tenant.after", cache_vary=("tenant",), bind=True)
    def after(self: Task, before: Any, tag: str) -> str:
        tenant = (self.request.headers or {}).get("tenant", "nobody")
        tasks.ran("tenant.after", tag, tenant)
        return f"{before}>{tag}@{tenant}"

    @tasks.cached("tenant.lang", cache_vary=("lang",))
    def lang(tag: str) -> str:
        return tag

    @tasks.plain("tenant.parent")
    def parent(tag: str) -> str:
        """A plain task with a cached child."""
        return str(tasks.app.tasks["tenant.of"].delay(tag).id)


if "CELERY_BROKER_URL" in os.environ:
    app = make_app(
        os.environ["CELERY_BROKER_URL"],
        os.environ["CELERY_RESULT_BACKEND"],
        os.environ["TASKCACHE_URL"],
        **json.loads(os.environ.get("APP_CONF", "{}")),
    )
