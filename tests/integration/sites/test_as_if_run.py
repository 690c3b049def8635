"""S4 and S7: a cached task is as the plain one in all that callers, handlers and Celery see."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, chain, chord, group, signals, uuid
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from tests.integration.groups.counting_harness import PATIENCE, CountingHarness, stored
from tests.integration.harness import Harness
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import CachedTask, CacheMiss, TaskCache

pytestmark = pytest.mark.one_server_kind


def plus(x: int, y: int) -> int:
    return x + y


def total_of(xs: list[int]) -> int:
    return sum(xs)


def nothing() -> None:
    pass


def memory_app(**options: Any) -> Celery:
    app = Celery("as-if-run", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(options)
    return app


@pytest.fixture
def published() -> Iterator[list[dict[str, Any]]]:
    """The headers of the messages that this process sends."""
    seen: list[dict[str, Any]] = []

    def note(headers: dict[str, Any] | None = None, **_: Any) -> None:
        seen.append(dict(headers or {}))

    signals.before_task_publish.connect(note, weak=False)
    yield seen
    signals.before_task_publish.disconnect(note)


# Generators

SHAPES = {
    "group": lambda members, _: group(members),
    "chains": lambda members, body: group(chain(sig, body) for sig in members),
    "nested": lambda members, _: group([group(members)]),
}


@pytest.mark.parametrize("base", [Task, CachedTask])
@pytest.mark.parametrize("shape", SHAPES)
def test_s7_a_generator_is_asked_for_the_next_but_one_only(
    shape: str, base: type[Task], published: list[dict[str, Any]]
) -> None:
    app = memory_app()
    TaskCache(app)
    add = app.task(name="add", base=base, shared=False)(plus)
    group_prefetch = []

    def members() -> Iterator[Any]:
        for i in range(40):
            group_prefetch.append(i + 1 - len(published))
            yield add.s(i, i)

    SHAPES[shape](members(), add.s(1)).apply_async()
    assert len(published) == 40
    assert max(group_prefetch) <= (40 if shape == "nested" else 3)


def test_s7_a_group_of_other_tasks_makes_no_cache() -> None:
    app = memory_app()
    plain = app.task(name="plain", shared=False)(total_of)
    group([plain.s(1), plain.s(2), chain(plain.s(1), plain.s())]).apply_async()
    assert "_taskcache" not in vars(app)


# Chords, and Celery's lists


def test_s4_a_frozen_chord_can_be_applied_again(counting_harness: CountingHarness) -> None:
    tag = counting_harness.harness.tag
    counting_harness.fill(1, 2)
    workflow = chord(
        counting_harness.adds(1, 2), counting_harness.harness.task("plain.collect").s(tag)
    )
    workflow.freeze()
    for run in range(1, 4):
        workflow.apply_async()
        wait_until(
            lambda n=run: counting_harness.harness.runs("collect", tag) >= n, what=f"body {run}"
        )
    assert counting_harness.harness.runs("collect", tag) == 3


def test_s4_a_signature_is_as_it_was_after_it_was_answered(
    counting_harness_alone: CountingHarness,
) -> None:
    add, tag = counting_harness_alone.add, counting_harness_alone.harness.tag
    counting_harness_alone.fill(1)
    steps = [add.s(tag), add.s(tag)]
    (sig,) = counting_harness_alone.adds(1)
    callback = add.s(tag)
    sig.link(callback)
    before = repr((dict(sig), steps))
    assert sig.apply_async(chain=steps).cache_status.hit
    assert repr((dict(sig), steps)) == before
    results = group([sig, sig]).apply_async()
    assert results.get(timeout=PATIENCE) == stored(1, 1)
    assert "taskcache" not in repr(dict(sig))


# Revoked calls


@pytest.mark.parametrize("how", ["id", "stamp", "stamps in a list"])
def test_s4_a_revoked_call_is_refused(
    counting_harness: CountingHarness, worker: Worker, how: str
) -> None:
    counting_harness.fill(1)
    app, (sig,) = counting_harness.harness.app, counting_harness.adds(1)
    task_id, stamp = uuid(), uuid()
    if how == "id":
        app.control.revoke(task_id, reply=True)
        app.backend.forget(task_id)
    else:
        values = stamp if how == "stamp" else [uuid(), stamp]
        app.control.revoke_by_stamped_headers({"monitored": values}, reply=True)
    sig.set(task_id=task_id)
    sig.stamp(monitored=stamp)
    with pytest.raises(TaskRevokedError):
        sig.apply_async().get(timeout=PATIENCE)
    with pytest.raises(CacheMiss, match="revoked"):
        sig.clone().set(cache="only").apply_async()
    other = counting_harness.adds(1)[0]
    other.stamp(monitored=uuid())
    assert other.apply_async().cache_status.hit, "another stamp"


# Task classes


def app_of(kind: Any, **options: Any) -> Celery:
    return Celery(
        "as-if-run",
        broker="memory://",
        backend="cache+memory://",
        task_cls=kind,
        set_as_current=False,
        **options,
    )


def test_s4_the_apps_task_class_may_be_cached() -> None:
    app = app_of(CachedTask)
    add = app.task(name="add", shared=False)(plus)
    total = app.task(name="total", shared=False)(total_of)

    def header() -> Any:
        return chord([add.s(1, 1)] * 2, total.s())

    for each in (header() | add.s(1), header() | header(), header(), group(header(), header())):
        group(each, add.s(1, 1)).apply_async()
        chord([each, add.s(1, 1)], total.s()).apply_async()
    assert not [
        name for name in TaskCache(app)._provider._tasks if name.startswith(("celery.", "tta_"))
    ]


def test_s4_flasks_pattern() -> None:
    inside: list[str] = []

    class FlaskTask(CachedTask):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            inside.append(self.name)
            return self.run(*args, **kwargs)

    app = app_of(FlaskTask)
    app.conf.task_always_eager = True
    runs = []

    @app.task(name="add", shared=False, cache_ttl=60)
    def add(x: int, y: int) -> int:
        runs.append(x)
        return x + y

    assert [add.delay(1, 2).get() for _ in range(3)] == [3] * 3
    assert (runs, inside) == ([1], ["add"])
    assert add.map([(1,)]).task == "celery.map"


def test_s4_options_are_checked_with_the_apps_class_too() -> None:
    with pytest.raises(ValueError, match="cache_ttl"):
        app_of(CachedTask).task(name="x", cache_ttl="soon")(nothing)


CAPTURED: dict[str, Any] = {"capture_output": True, "text": True}

DJANGO = """
import os, sys, types, functools
settings = types.ModuleType("its_settings")
settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
settings.INSTALLED_APPS, settings.SECRET_KEY = [], "x"
sys.modules["its_settings"] = settings
os.environ["DJANGO_SETTINGS_MODULE"] = "its_settings"
import django
from celery import Celery, shared_task
django.setup()
app = Celery("its", broker="memory://", backend="cache+memory://")
from celery.contrib.django.task import DjangoTask
from django.db import transaction
from tta_taskcache import CachedTask

class Preset(CachedTask):
    abstract = True
    cache_ttl = 60

class Both(CachedTask, DjangoTask):
    abstract = True

for base in (CachedTask, Preset, Both):
    for make in (shared_task, app.task):
        @make(base=base, name=f"{base.__name__}.{make.__name__}")
        def add(x, y):
            return x + y
        task = app.tasks[add.name]
        assert isinstance(task, base) and isinstance(task, DjangoTask), add.name
        sent = []
        with transaction.atomic():
            task.delay_on_commit(1, 2)
            task.apply_async_on_commit((1, 2))
assert app.tasks["Preset.shared_task"].cache_policy.ttl == 60
"""


def test_s4_in_django_projects_cached_tasks_are_djangos() -> None:
    pytest.importorskip("django")
    done = subprocess.run([sys.executable, "-c", DJANGO], check=False, **CAPTURED)
    assert done.returncode == 0, done.stderr


# What is called, and what is told of it


def test_s4_the_request_of_a_hit_has_its_arguments_reprs(
    counting_harness_alone: CountingHarness,
) -> None:
    requests = []

    def note(task: Any = None, **_: Any) -> None:
        requests.append((task.request.argsrepr, task.request.kwargsrepr))

    counting_harness_alone.fill(1)
    signals.task_prerun.connect(note, weak=False)
    try:
        counting_harness_alone.adds(1)[0].apply_async()
        counting_harness_alone.adds(1)[0].apply_async(argsrepr="(***)")
    finally:
        signals.task_prerun.disconnect(note)
    assert requests == [(repr((counting_harness_alone.harness.tag, 1)), "{}"), ("(***)", "{}")]


def test_s7_a_call_that_needs_no_header_has_none(published: list[dict[str, Any]]) -> None:
    app = memory_app()
    seen = []

    @app.task(name="add", base=CachedTask, bind=True, shared=False)
    def add(self: Task) -> None:
        seen.append(self.request.headers)

    add.apply_async(None, None)
    assert "taskcache" not in published[0]
    app.conf.task_always_eager = True
    result = add.apply_async()
    assert seen == [None]
    assert result.cache_status.reason == "absent"


def test_s4_what_was_given_is_what_celery_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    app = memory_app()
    add = app.task(name="add", base=CachedTask, shared=False)(nothing)
    calls = []

    def send(_: Celery, *args: Any, **options: Any) -> AsyncResult:
        calls.append((args, options["link"], options.get("headers")))
        return AsyncResult("some", app=app)

    monkeypatch.setattr(Celery, "send_task", send)
    add.apply_async(None, None)
    add.apply_async(None, None, headers={})
    assert calls == [(("add", None, None), None, None), (("add", None, None), None, {})]


def test_s4_headers_that_are_no_mapping_are_celerys_to_refuse() -> None:
    def refusal(base: type[Task]) -> Any:
        add = memory_app().task(name="add", base=base, shared=False)(nothing)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever plain Celery raises
            add.apply_async(headers=123)
        return type(caught.value), str(caught.value)

    assert refusal(CachedTask) == refusal(Task)


class Gone(Exception):
    pass


def test_s4_an_eager_remembered_failure_says_so() -> None:
    app = memory_app(task_always_eager=True)
    runs = []

    @app.task(name="fails", base=CachedTask, cache_errors={Gone: 30}, shared=False)
    def fails(x: int) -> None:
        runs.append(x)
        raise Gone(x)

    told = [fails.delay(1).cache_status for _ in range(3)]
    assert runs == [1]
    assert [(each.hit, each.site) for each in told] == [
        (False, "pool"),
        (True, "pool"),
        (True, "pool"),
    ]


def test_s4_parameters_may_have_any_name(harness: Harness) -> None:
    @harness.app.task(name=f"named:{harness.tag}", base=CachedTask, shared=False)
    def named(value: Any, self: Any = 1, key: Any = 2) -> list[Any]:
        return [value, self, key]

    handle = named.cache
    assert handle.set("stored", value=0, self=5)
    assert handle.get(value=0, self=5) == "stored"
    assert handle.call(value=1) == [1, 1, 2]
    assert handle.explain(value=0, self=5).status == "hit"
    result = named.apply_async((), {"value": 0, "self": 5})
    assert result.cache_status.key == handle.key(value=0, self=5)
    handle.invalidate(value=0, self=5)
    assert not handle.get(value=0, self=5)


INSTALLED = """
import sys
from celery import Celery, canvas
from celery.bin.celery import main
from celery.worker.control import Panel
assert not [name for name in sys.modules if name.startswith("tta_taskcache.celery.")
            and "cli" not in name], sys.modules
assert not [name for name in Panel.meta if "taskcache" in name]
assert canvas.group._apply_tasks.__module__ == Celery.task.__module__.replace("app.base", "canvas")
"""


def test_s7_being_installed_changes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", INSTALLED], check=False, **CAPTURED)
    assert done.returncode == 0, done.stderr


def test_s4_headers_of_apply_may_be_anything() -> None:
    app = memory_app(task_always_eager=True)

    @app.task(name="add", base=CachedTask, bind=True, shared=False)
    def add(self: Task) -> Any:
        return self.request.headers

    assert add.apply(headers=123).get() == 123
