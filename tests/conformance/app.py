"""The application: each task plain, cached, and cached for each site alone.

Every task takes `run`, which keeps the calls of one run apart from those of another.
"""

import json
import os
from collections.abc import Callable
from typing import Any

from celery import Celery, Task, chain, group, shared_task
from celery.exceptions import Ignore, Reject
from pydantic import BaseModel

from tests.conformance.witness import Witness
from tta_taskcache import CachedTask

SITES = ("producer", "consumer", "pool")
CACHED = ("cached", *SITES)
KINDS = ("plain", *CACHED)


class Sum(BaseModel):
    """What the pydantic task takes and returns."""

    x: int
    y: int = 0


class Tasks:
    """Defines tasks of all kinds."""

    def __init__(self, app: Celery, witness: Witness) -> None:
        self.app, self.witness = app, witness

    def everywhere(self, **options: Any) -> Callable[[Any], Any]:
        """Decorator: one function as a task of each kind."""

        def define(function: Any) -> Any:
            for kind in KINDS:
                self._define(kind, function, options)
            return function

        return define

    def _define(self, kind: str, function: Any, options: dict[str, Any]) -> None:
        own = dict(options)
        if kind != "plain":
            own["base"] = CachedTask
            own["cache_sites"] = SITES if kind == "cached" else (kind,)
        # Not shared: each app of the tests' process has tasks of its own.
        name = f"{kind}.{function.__name__}"
        self.app.task(name=name, shared=False, **own)(function)

    def of(self, task: Task, name: str) -> Task:
        """Another task of the same kind."""
        return self.app.tasks[f"{task.name.split('.')[0]}.{name}"]


def make_app(
    broker: str,
    backend: str | None,
    cache: str,
    witness: str,
    *,
    short: bool = False,
    **conf: Any,
) -> Celery:
    app = Celery("tests.conformance.app", set_as_current=False)
    app.conf.update(
        broker_url=broker,
        result_backend=backend,
        taskcache_url=cache,
        broker_connection_retry_on_startup=True,
        result_chord_retry_interval=0.1,
        taskcache_timeout=2.0,  # the machines of CI are slow
        task_publish_retry=False,
    )
    app.conf.update(conf)
    app.witness = Witness(app, witness, short=short)
    tasks = Tasks(app, app.witness)
    _define_steps(tasks)
    _define_failures(tasks)
    _define_canvas(tasks)
    _define_outcomes(tasks)
    _define_options(tasks)
    _define_classes(tasks)
    app.finalize()
    app.witness.watch()
    return app


def _define_steps(tasks: Tasks) -> None:
    ran = tasks.witness.ran

    @tasks.everywhere()
    def add(x: int, y: int = 0, *, run: str) -> int:
        ran("add")
        return x + y

    @tasks.everywhere()
    def more(x: int, by: int = 1, *, run: str) -> int:
        """A step that goes on from the one before."""
        ran("more")
        return x + by

    @tasks.everywhere()
    def collect(xs: Any, *, run: str) -> int:
        """The end of a group. Not a sum: the order counts."""
        ran("collect")
        total = 0
        for x in _flat(xs):
            total = (total * 31 + x) % 1_000_003
        return total

    @tasks.everywhere()
    def total(xs: list[int], *, run: str) -> int:
        """The end of a group in no order."""
        ran("total")
        return sum(xs)

    @tasks.everywhere()
    def note(value: Any, what: str = "", *, run: str) -> str:
        """A callback."""
        ran("note")
        return f"{what}{value}"


def _flat(xs: Any) -> list[int]:
    return [y for x in xs for y in _flat(x)] if isinstance(xs, list) else [int(xs)]


def _define_failures(tasks: Tasks) -> None:
    ran = tasks.witness.ran

    @tasks.everywhere()
    def fails(x: int, *, run: str) -> None:
        ran("fails")
        raise ValueError(x)

    @tasks.everywhere()
    def spoil(value: Any, *, run: str) -> None:
        """A step that fails."""
        ran("spoil")
        raise ValueError(value)

    @tasks.app.task(name="plain.errback", shared=False)
    def errback(request: Any, error: Any, traceback: Any, what: str) -> None:
        tasks.witness.effect(f"{what} {error!r}")

    @tasks.everywhere()
    def told(failed_id: str, what: str = "", *, run: str) -> None:
        """An errback of the old kind: it is sent, with the id of what failed."""
        ran("told")


def _define_canvas(tasks: Tasks) -> None:
    ran = tasks.witness.ran

    @tasks.everywhere(bind=True)
    def replaced(self: Task, x: int, *, run: str) -> Any:
        ran("replaced")
        raise self.replace(tasks.of(self, "add").s(x, 1, run=run))

    @tasks.everywhere(bind=True)
    def replaced_by_chain(self: Task, x: int, *, run: str) -> Any:
        ran("replaced_by_chain")
        add, more = tasks.of(self, "add"), tasks.of(self, "more")
        raise self.replace(chain(add.s(x, 1, run=run), more.s(2, run=run)))

    @tasks.everywhere(bind=True)
    def replaced_by_group(self: Task, x: int, *, run: str) -> Any:
        ran("replaced_by_group")
        add = tasks.of(self, "add")
        raise self.replace(group(add.s(x, i, run=run) for i in range(3)))

    @tasks.everywhere(bind=True)
    def adds_to_chord(self: Task, x: int, *, run: str) -> int:
        ran("adds_to_chord")
        self.add_to_chord(tasks.of(self, "add").s(x, 100, run=run))
        return x

    @tasks.everywhere()
    def double(pair: list[Any]) -> int:
        """For `map`, which passes one argument."""
        ran("double")
        return int(pair[0]) * 2

    @tasks.everywhere()
    def scale(x: int, by: int, run: str) -> int:
        """For `starmap`, which passes positional arguments."""
        ran("scale")
        return x * by


def _define_outcomes(tasks: Tasks) -> None:
    ran = tasks.witness.ran

    @tasks.everywhere(bind=True, max_retries=3)
    def retried(self: Task, x: int, *, run: str) -> int:
        ran("retried")
        tasks.witness.wait_for_tries(self.request)
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return x + int(self.request.retries)

    @tasks.everywhere(bind=True, autoretry_for=(KeyError,), default_retry_delay=0, max_retries=1)
    def autoretried(self: Task, x: int, *, run: str) -> int:
        ran("autoretried")
        tasks.witness.wait_for_tries(self.request)
        if not self.request.retries:
            raise KeyError(x)
        return x

    @tasks.everywhere(bind=True, autoretry_for=(KeyError,), default_retry_delay=0, max_retries=1)
    def in_vain(self: Task, x: int, *, run: str) -> None:
        ran("in_vain")
        tasks.witness.wait_for_tries(self.request)
        raise KeyError(x)

    @tasks.everywhere()
    def ignores(x: int, *, run: str) -> None:
        ran("ignores")
        raise Ignore

    @tasks.everywhere(acks_late=True)
    def rejects(x: int, *, run: str) -> None:
        ran("rejects")
        raise Reject("no", requeue=False)

    @tasks.everywhere()
    def returns(what: int, *, run: str) -> Any:
        """Values that are easily mistaken for nothing."""
        ran("returns")
        return [None, 0, "", [], False, {}, {"a": [1]}][what]


def _define_options(tasks: Tasks) -> None:
    ran = tasks.witness.ran
    options: dict[str, dict[str, Any]] = {
        "late": {"acks_late": True},
        "tracked": {"track_started": True},
        "limited": {"rate_limit": "1000/s"},
        "timed": {"time_limit": 60, "soft_time_limit": 50},
        "ignored": {"ignore_result": True},
        "silent": {"send_events": False},
    }
    for name, chosen in options.items():

        def work(x: int, *, run: str, name: str = name) -> int:
            ran(name)
            return x

        work.__name__ = name
        tasks.everywhere(**chosen)(work)

    @tasks.everywhere(bind=True)
    def bound(self: Task, x: int, *, run: str) -> list[Any]:
        """What a task can know of itself, the same in each run."""
        ran("bound")
        return [x, self.request.retries, self.request.called_directly, self.request.is_eager]


def _define_classes(tasks: Tasks) -> None:
    ran = tasks.witness.ran

    for kind in KINDS:
        base = Task if kind == "plain" else CachedTask

        class Classy(base):  # type: ignore[misc, valid-type]  # each kind has its own base
            name = f"{kind}.classy"
            cache_sites = SITES if kind in ("cached", "plain") else (kind,)

            def run(self, x: int, *, run: str) -> int:
                ran("classy")
                return x

            def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
                tasks.witness.effect(f"success {retval}")

            def after_return(self, status: str, *_: Any) -> None:
                tasks.witness.effect(f"after {status}")

        tasks.app.register_task(Classy())

    @tasks.everywhere(pydantic=True)
    def modelled(what: Sum, *, run: str) -> Sum:
        ran("modelled")
        return Sum(x=what.x + what.y)


def define_shared(kind: str) -> Any:
    """A `shared_task`, which every app made later has."""
    options = {} if kind == "plain" else {"base": CachedTask}

    @shared_task(name=f"{kind}.shared", **options)
    def shared(x: int, *, run: str) -> int:
        return x

    return shared


if "CONFORMANCE" in os.environ:
    _conf = json.loads(os.environ["CONFORMANCE"])
    app = make_app(**_conf)
