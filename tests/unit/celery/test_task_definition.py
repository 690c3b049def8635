"""A wrong option fails where the task is defined, and leaves nothing behind."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, _state, shared_task

from tta_taskcache import CachedTask, ConfigurationError
from tta_taskcache.core.options.policy import Policy


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery(broker="memory://", backend="cache+memory://", set_as_current=False) as app:
        yield app


@pytest.fixture(autouse=True)
def finalizers() -> Iterator[set[Any]]:
    """What Celery does to every app to come; forgotten afterwards, else all tests get our tasks."""
    before = set(_state._on_app_finalizers)
    yield before
    _state._on_app_finalizers.intersection_update(before)


def own_tasks(app: Celery) -> list[str]:
    return [name for name in app.tasks if name.startswith(("proj.", __name__))]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cache_ttl": -1}, r"cache_ttl=-1: must be more than 0"),
    ({"cache_vary": "tenant"}, r"cache_vary='tenant': must be a tuple.*\('tenant',\)"),
    ({"cache_vary": (1,)}, r"cache_vary=\(1,\): must be a tuple of header names"),
    ({"cache_vary": 1}, r"cache_vary=1: must be a tuple of header names"),
    ({"cache_key": "static"}, r"cache_key='static' names no argument; use.*\{user\}"),
    (
        {"cache_key": "{nobody}"},
        r"cache_key='\{nobody\}': 'nobody' is neither.*allowed: text, user",
    ),
    ({"cache_key": "{user}*"}, r"cache_key='\{user\}\*': '\*' holds"),
    ({"cache_key": "{user!r}"}, r"cache_key='\{user!r\}': .*not supported"),
    ({"cache_key": "{user:>5}"}, r"cache_key=.*not supported"),
    ({"cache_key": "{user.name}"}, r"'user\.name' is neither"),
    ({"cache_key": "{}"}, r"'' is neither an argument"),
    ({"cache_key": "{user"}, r"cache_key='\{user'"),
    ({"cache_key": "}{user}"}, r"cache_key='\}\{user\}'"),
    ({"cache_key": "{text}", "cache_ignore": ("text",)}, r"cache_key='\{text\}'.*'text'"),
    ({"cache_ignore": ("nobody",)}, r"cache_ignore=\('nobody',\): .*allowed: user, text"),
    ({"cache_serializer": "nope"}, r"cache_serializer='nope': must be one of: .*json"),
    ({"cache_compression": "nope"}, r"cache_compression='nope': must be one of: .*gzip"),
    ({"cache_sites": ("nowhere",)}, r"cache_sites=.*'nowhere' is no site"),
    ({"cache_tll": 1}, r"cache_tll; did you mean cache_ttl\?"),
    ({"cache_stale_if_error": -1}, r"cache_stale_if_error=-1: must be more than 0"),
]

wrong = pytest.mark.parametrize(("options", "message"), WRONG, ids=[str(case) for case, _ in WRONG])


def body(user: str, text: str = "") -> str:
    return user + text


@wrong
def test_decorator(
    app: Celery, finalizers: set[Any], options: dict[str, Any], message: str
) -> None:
    decorate = app.task(base=CachedTask, name="proj.wrong", **options)
    with pytest.raises(ConfigurationError, match=message) as refused:
        decorate(body)
    assert "'proj.wrong'" in str(refused.value)
    assert own_tasks(app) == []
    assert set(_state._on_app_finalizers) == finalizers, "no other app gets it either"


@wrong
def test_bound_function(app: Celery, options: dict[str, Any], message: str) -> None:
    def bound(self: Any, user: str, text: str = "") -> None: ...

    with pytest.raises(ConfigurationError, match=message):
        app.task(bind=True, base=CachedTask, **options)(bound)
    assert own_tasks(app) == []


@wrong
def test_class(app: Celery, options: dict[str, Any], message: str) -> None:
    def run(self: Any, user: str, text: str = "") -> None: ...

    with pytest.raises(ConfigurationError, match=message):
        type("Wrong", (CachedTask,), {"name": "proj.wrong", "run": run, **options})
    assert own_tasks(app) == []


@wrong
def test_base_class_without_run_is_checked_as_far_as_can_be(
    options: dict[str, Any], message: str
) -> None:
    about_arguments = {"cache_key", "cache_ignore"} & options.keys()
    if about_arguments:
        type("Base", (CachedTask,), {"abstract": True, **options})
    else:
        with pytest.raises(ConfigurationError, match=message):
            type("Base", (CachedTask,), {"abstract": True, **options})


@wrong
def test_inherited(app: Celery, options: dict[str, Any], message: str) -> None:
    class Mixin:
        pass

    for name, value in options.items():
        setattr(Mixin, name, value)
    with pytest.raises(ConfigurationError, match=message):
        type("Wrong", (Mixin, CachedTask), {"run": staticmethod(body), "name": "proj.wrong"})
    assert own_tasks(app) == []


@wrong
def test_annotations(app: Celery, options: dict[str, Any], message: str) -> None:
    app.conf.task_annotations = {"proj.annotated": options}
    app.task(base=CachedTask, name="proj.annotated")(body)
    with pytest.raises(ConfigurationError, match=message):
        app.finalize()


@wrong
def test_shared_task_fails_when_an_app_makes_it(
    app: Celery, options: dict[str, Any], message: str
) -> None:
    def define() -> None:
        # Apps that are final already make it at once.
        shared_task(base=CachedTask, name="proj.shared", **options)(body)
        app.finalize()

    with pytest.raises(ConfigurationError, match=message):
        define()


def test_without_parentheses(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="cache_ttl=-1"):
        app.task(body, base=CachedTask, cache_ttl=-1)
    assert own_tasks(app) == []


def test_name_is_the_one_that_celery_gives(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=rf"task '{__name__}\.body': cache_ttl=-1"):
        app.task(base=CachedTask, cache_ttl=-1)(body)


def test_name_may_be_used_again_after_a_failure(app: Celery) -> None:
    with pytest.raises(ConfigurationError):
        app.task(base=CachedTask, name="proj.task", cache_ttl=-1)(body)
    task = app.task(base=CachedTask, name="proj.task", cache_ttl=5)(body)
    assert task.cache_policy == Policy(ttl=5.0)
    assert own_tasks(app) == ["proj.task"]


def test_check_registers_nothing_before_celery_does(app: Celery) -> None:
    app.task(base=CachedTask, name="proj.lazy")(body)
    assert "proj.lazy" not in app._tasks
    assert own_tasks(app) == ["proj.lazy"]


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
def test_right_options_arrive(app: Celery, *, bind: bool, lazy: bool) -> None:
    def plain(user: str, text: str = "") -> str:
        return user + text

    def bound(self: Any, user: str, text: str = "") -> str:
        return user + text

    function: Callable[..., str] = bound if bind else plain
    options = {"cache_ttl": 5, "cache_vary": ("tenant",), "cache_key": "{user}/{tenant}"}
    task = app.task(base=CachedTask, bind=bind, lazy=lazy, **options)(function)
    policy = task.cache_policy
    assert policy == Policy(ttl=5.0, vary=("tenant",), key="{user}/{tenant}")
    assert task("a", "b") == "ab"


def test_class_attributes_inheritance_and_annotations(app: Celery) -> None:
    class Base(CachedTask):
        abstract = True
        cache_ttl = 10
        cache_version = "base"

    class Own(Base):
        name = "proj.own"
        cache_version = "own"

        def run(self, x: int) -> int:
            return x

    app.conf.task_annotations = {"proj.own": {"cache_jitter": 0.5}}
    task = app.register_task(Own())
    app.finalize()
    assert task.cache_policy == Policy(ttl=10.0, version="own", jitter=0.5)


def test_default_ttl_is_the_setting(app: Celery) -> None:
    app.conf.taskcache_default_ttl = 7
    assert app.task(base=CachedTask)(body).cache_policy.ttl == 7.0


def test_other_tasks_are_left_alone(app: Celery) -> None:
    task = app.task(cache_ttl=-1)(body)
    assert task.cache_ttl == -1
    assert task("a") == "a"


def test_f3_a_task_that_another_thread_is_just_binding() -> None:
    """Celery calls it bound before it tells us."""
    app = Celery(broker="memory://", set_as_current=False)
    binding: list[type[CachedTask]] = []
    started, go = threading.Event(), threading.Event()

    class Slow(CachedTask):
        abstract = True

        @classmethod
        def on_bound(cls, app: Celery) -> None:
            binding.append(cls)
            started.set()
            go.wait(10)
            super().on_bound(app)

    @app.task(base=Slow, name="slow", shared=False)
    def slow() -> None: ...

    thread = threading.Thread(target=app.finalize)
    thread.start()
    assert started.wait(10)
    try:
        assert binding[0]().cache_keyer.task == "slow"
    finally:
        go.set()
        thread.join()
