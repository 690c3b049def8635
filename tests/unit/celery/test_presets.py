"""Presets are base classes: with abstract ones, annotations, and Flask's task class in the mix."""

from collections.abc import Iterator
from typing import Any

import flask
import pytest
from celery import Celery, Task, _state, shared_task

from tta_taskcache import CachedTask, ConfigurationError, cached_task

FLASK = flask.Flask("site")


class Daily(CachedTask):
    abstract = True
    cache_ttl = 86_400
    cache_stale_if_error = 60
    cache_tags: Any = ("daily",)


class Tagged(Daily):
    abstract = True
    cache_tags = (*Daily.cache_tags, "mine")


class FlaskTask(Task):
    """As Flask's documentation has it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with FLASK.app_context():
            return self.run(*args, **kwargs)


class FlaskFirst(FlaskTask, Daily):
    abstract = True


class FlaskLast(Daily, FlaskTask):
    abstract = True


@pytest.fixture
def app() -> Celery:
    app = Celery("presets", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    return app


@pytest.fixture
def _no_shared_task_stays() -> Iterator[None]:
    """Else each app that a later test makes would have it, and with it a cache."""
    before = set(_state._on_app_finalizers)
    yield
    _state._on_app_finalizers.intersection_update(before)


def double(x: int) -> int:
    return 2 * x


def test_a_task_has_the_options_of_its_base_and_its_own(app: Celery) -> None:
    plain = app.task(base=Tagged, name="plain", shared=False)(double)
    own = app.task(base=Tagged, name="own", shared=False, cache_ttl=60)(double)
    assert (plain.cache_policy.ttl, own.cache_policy.ttl) == (86_400, 60)
    assert plain.cache_policy.stale_if_error == own.cache_policy.stale_if_error == 60
    assert plain.cache_policy.tags == ("daily", "mine")


def test_annotations_count_last(app: Celery) -> None:
    app.conf.task_annotations = {"annotated": {"cache_ttl": 5}, "*": {"cache_jitter": 0.5}}
    annotated = app.task(base=Daily, name="annotated", shared=False, cache_ttl=60)(double)
    policy = annotated.cache_policy
    assert (policy.ttl, policy.jitter, policy.stale_if_error) == (5, 0.5, 60)


def test_a_class_is_a_task_of_its_own(app: Celery) -> None:
    class Report(Daily[[int], int]):
        name = "report"

        def run(self, x: int) -> int:
            return double(x)

    report = app.register_task(Report())
    assert [report.delay(1).get() for _ in range(2)] == [2, 2]
    assert report.delay(1).cache_status.hit
    assert report.cache_policy.ttl == 86_400


def test_all_tasks_of_an_app_have_one(app: Celery) -> None:
    app = Celery("presets", task_cls=Daily, set_as_current=False)
    assert app.task(name="any", shared=False)(double).cache_policy.ttl == 86_400


@pytest.mark.parametrize("base", [FlaskFirst, FlaskLast])
def test_flasks_context_is_there_when_the_task_runs_and_not_for_a_hit(
    app: Celery, base: type[CachedTask]
) -> None:
    seen = []

    @app.task(base=base, name="in-flask", shared=False)
    def in_flask(x: int) -> str:
        return flask.current_app.name

    def pushed(sender: Any, **_: Any) -> None:
        seen.append(sender.name)

    with flask.appcontext_pushed.connected_to(pushed, FLASK):
        assert [in_flask.delay(1).get() for _ in range(2)] == ["site", "site"]
    assert seen == ["site"]
    assert in_flask.cache_policy.ttl == 86_400


def test_a_preset_is_checked_where_it_is_defined() -> None:
    with pytest.raises(ConfigurationError, match="cache_ttl"):
        type("Wrong", (Daily,), {"abstract": True, "cache_ttl": -1})
    with pytest.raises(ConfigurationError, match="did you mean"):
        type("Misspelt", (Daily,), {"abstract": True, "cache_tll": 1})


@pytest.mark.usefixtures("_no_shared_task_stays")
def test_cached_task_is_the_same_as_the_decorators(app: Celery) -> None:
    own = cached_task(app=app, base=Daily, name="own")(double)
    shared = cached_task(base=Daily, name="shared-preset")(double)
    bare = cached_task(double)
    assert (own.app, own.cache_policy.ttl) == (app, 86_400)
    assert isinstance(shared, Daily)
    assert isinstance(bare, CachedTask)
    assert type(shared_task(base=Daily, name="as-ever")(double)) is type(shared)
    assert own(3) == bare(3) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_tll": 1}, "did you mean cache_ttl?"),
        ({"cache_ignore": ("y",)}, "'y' is no argument of the task"),
        ({"base": Task}, "isn't derived from CachedTask"),
    ],
)
def test_wrong_options_fail_at_import_of_shared_tasks_too(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match="double") as refused:
        cached_task(**options)(double)
    assert message in str(refused.value)


def test_a_subscript_is_for_type_checkers() -> None:
    assert CachedTask[[int], str] is CachedTask
    assert Daily[..., Any] is Daily
