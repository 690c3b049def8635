"""Observers of the user's: told of everything, loaded by name, and no danger to a task."""

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from celery import Celery

from tta_taskcache import CachedTask, ConfigurationError, TaskCache
from tta_taskcache.core.events import Answered, Event, Fault, Filled, Invalidated, Lookup, Ran
from tta_taskcache.observability.observers import Observers, available
from tta_taskcache.observability.structlog import StructlogObserver

HIT = Lookup("t", "t:k", "producer", "l1", "")


class Interrupted(Exception):
    """As a time limit of the task's."""


def fails(event: Event) -> None:
    raise ValueError(event)


def test_f1_an_observer_that_fails_is_logged_once_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Event] = []
    observers = Observers([fails, seen.append])
    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        observers(HIT)
        observers(HIT)
    assert seen == [HIT, HIT]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "observer fails has failed"
    ]


def test_f8_a_time_limit_that_strikes_in_an_observer_is_the_tasks() -> None:
    def interrupted(event: Event) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        Observers([interrupted], passes=(Interrupted,))(HIT)


def test_an_observer_may_put_the_context_of_a_message_in_force() -> None:
    log: list[Any] = []

    class Tracer:
        def __call__(self, event: Event) -> None:
            log.append(event)

        @contextmanager
        def in_message(self, headers: Mapping[str, Any]) -> Iterator[None]:
            log.append(headers["trace"])
            yield
            log.append("left")

    class Broken(Tracer):
        def in_message(self, headers: Mapping[str, Any]) -> Any:
            raise ValueError

    observers = Observers([Broken(), Tracer()])
    with observers.in_message({"trace": "id"}):
        observers(HIT)
    assert log == ["id", HIT, HIT, "left"]


def test_an_observer_may_say_which_span_is_in_force(caplog: pytest.LogCaptureFixture) -> None:
    class Tracer:
        def __init__(self, *answers: str) -> None:
            self.answers = list(answers)

        def __call__(self, event: Event) -> None:
            pass

        def current_trace(self) -> str:
            return self.answers.pop()

    observers = Observers([Tracer(), Tracer(""), Tracer("x" * 99), Tracer("00-a-b-01"), Tracer()])
    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        assert observers.current_trace() == "00-a-b-01"
    assert "has failed" in caplog.text
    assert Observers([fails]).current_trace() == ""


def test_those_that_come_with_the_library_have_names() -> None:
    assert set(available()) >= {"opentelemetry", "sentry", "structlog"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("sentry", "must be a list of callables, or of names: opentelemetry, sentry, structlog"),
        (["newrelic"], "'newrelic' is no callable, nor one of opentelemetry, sentry, structlog"),
        ([3], "3 is no callable"),
        ([StructlogObserver], "is no callable"),
    ],
)
def test_what_is_no_observer_is_refused_at_once(wrong: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match="taskcache_observers") as refused:
        TaskCache(Celery(set_as_current=False), observers=wrong)
    assert message in str(refused.value)


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [
        ("opentelemetry", "opentelemetry", "tta-taskcache[opentelemetry]"),
        ("sentry", "sentry_sdk", "pip install sentry-sdk"),
        ("structlog", "structlog", "pip install structlog"),
    ],
)
def test_what_is_missing_is_said_by_name(name: str, package: str, remedy: str) -> None:
    done = run(
        f"import sys; sys.modules[{package!r}] = None",
        "from celery import Celery",
        "from tta_taskcache import TaskCache",
        f"TaskCache(Celery(), observers=[{name!r}]).runtime",
    )
    assert f"observer {name!r}: " in done.stderr
    assert remedy in done.stderr


def test_nothing_is_loaded_that_is_not_named() -> None:
    done = run(
        "import sys",
        "from celery import Celery",
        "from tta_taskcache import TaskCache",
        "TaskCache(Celery(set_as_current=False)).runtime",
        "ours = ['opentelemetry', 'sentry', 'structlog']",
        "print([n for n in ours if f'tta_taskcache.observability.{n}' in sys.modules])",
        "print([n for n in ('sentry_sdk', 'structlog') if n in sys.modules])",
    )
    assert done.stdout == "[]\n[]\n"


def test_the_observers_of_an_app_see_what_its_calls_do() -> None:
    app, seen = Celery(set_as_current=False), list[Event]()
    app.conf.update(task_always_eager=True, taskcache_observers=[seen.append])
    cache = TaskCache(app)

    @app.task(base=CachedTask, shared=False, name="double")
    def double(x: int) -> int:
        return 2 * x

    assert [double.delay(2).get() for _ in range(2)] == [4, 4]
    cache.clear()
    kinds = [type(event).__name__ for event in seen]
    assert kinds == ["Lookup", "Ran", "Filled", "Lookup", "Answered", "Invalidated"]
    filled, hit, answered = seen[2:5]
    assert isinstance(filled, Filled)
    assert isinstance(hit, Lookup)
    assert isinstance(answered, Answered)
    assert filled.seconds is not None
    assert hit.size == answered.size == 1
    assert (answered.site, answered.task) == ("pool", "double")


def test_structlog_gets_kinds_and_fields_and_what_repeats_at_debug() -> None:
    with structlog.testing.capture_logs() as logs:
        observe = StructlogObserver()
        fault = Fault("t", "look", ValueError("no"))
        for event in (HIT, fault, fault, Invalidated(("x",), 7), Ran("t", "t:k", 1.0)):
            observe(event)
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("Lookup", "debug"),
        ("Fault", "warning"),
        ("Fault", "debug"),
        ("Invalidated", "info"),
    ]
    assert (logs[0]["task"], logs[0]["layer"]) == ("t", "l1")
    assert logs[1]["error"] == "ValueError('no')"
