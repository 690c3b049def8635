"""How the cache gets onto an app: by itself, by TaskCache, by settings."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, Task
from celery.app import base as celery_base
from celery.result import EagerResult
from pydantic import BaseModel

import tta_taskcache
from tests.support.servers import Server
from tta_taskcache import CachedTask, ConfigurationError, TaskCache
from tta_taskcache.celery.api import runtime_provider
from tta_taskcache.celery.config.serializers import CODECS

pytestmark = pytest.mark.one_server_kind

NewApp = Callable[..., Celery]


@pytest.fixture
def new_app(redis_server: Server) -> NewApp:
    """An app that runs tasks eagerly, with its results in Redis."""

    def make(**conf: Any) -> Celery:
        app = Celery("install", set_as_current=False, task_cls=conf.pop("task_cls", None))
        app.conf.update(broker_url="memory://", result_backend=redis_server.url(1))
        app.conf.update({"task_always_eager": True, **conf})
        return app

    return make


def counted(app: Celery, **options: Any) -> tuple[Any, list[Any]]:
    runs: list[Any] = []

    @app.task(shared=False, base=CachedTask, **options)
    def double(x: int) -> int:
        runs.append(x)
        return 2 * x

    return double, runs


def test_the_public_names_are_few() -> None:
    assert len(tta_taskcache.__all__) <= 22
    assert all(hasattr(tta_taskcache, name) for name in tta_taskcache.__all__)


def test_base_cached_task_alone_caches_in_the_result_backends_redis(
    new_app: NewApp, redis_server: Server
) -> None:
    task, runs = counted(new_app())
    results = [task.delay(4), task.delay(4)]
    assert [result.get() for result in results] == [8, 8]
    assert runs == [4]
    assert [result.cache_status.hit for result in results] == [False, True]
    assert isinstance(results[1], EagerResult)
    assert redis_server.client(1).keys("taskcache:e:*")


def test_without_redis_it_is_memory_only_and_says_so_once(
    new_app: NewApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = new_app(result_backend="cache+memory://")
    task, runs = counted(app)
    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        assert [task.delay(4).get() for _ in range(3)] == [8, 8, 8]
    assert runs == [4]
    said = [r.getMessage() for r in caplog.records if r.name == "tta_taskcache"]
    assert len(said) == 1
    assert "memory of each process only" in said[0]
    TaskCache(app).invalidate(task=task)
    assert task.delay(4).get() == 8
    assert runs == [4, 4]


def test_taskcache_is_idempotent_and_keywords_override_settings(
    new_app: NewApp, redis_server: Server
) -> None:
    app = new_app(taskcache_namespace="conf", taskcache_default_ttl=50)
    task, _ = counted(app)
    task.delay(1)
    cache = TaskCache(app)
    assert cache.runtime.settings.namespace == "conf"
    assert TaskCache(app, redis_server.url(2), namespace="mine") is cache
    assert cache.runtime.settings.namespace == "mine"
    assert cache.runtime.settings.url == redis_server.url(2)
    assert cache.runtime.settings.default_ttl == 50
    task.delay(1)
    assert redis_server.client(2).keys("mine:e:*")
    assert task.cache.explain(1).remaining <= 50


def test_django_spells_settings_with_its_prefix(new_app: NewApp, redis_server: Server) -> None:
    app = Celery("django-like", set_as_current=False)
    settings = SimpleNamespace(
        CELERY_TASK_ALWAYS_EAGER=True,
        CELERY_TASKCACHE_URL=redis_server.url(2),
        CELERY_TASKCACHE_DEFAULT_TTL=7,
    )
    app.config_from_object(settings, namespace="CELERY")
    task, runs = counted(app)
    task.delay(1), task.delay(1)
    assert runs == [1]
    assert TaskCache(app).runtime.settings.url == redis_server.url(2)
    assert task.cache.explain(1).remaining <= 7


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"taskcache_ttl": 5}, "unknown setting 'ttl'"),
        ({"taskcache_timeout": -1}, "taskcache_timeout=-1: must be more than 0"),
        ({"taskcache_url": "http://x"}, "redis://, rediss:// or unix://"),
        ({"taskcache_namespace": "a b"}, "taskcache_namespace='a b'"),
    ],
)
def test_a_wrong_setting_is_refused_when_the_task_is_bound(
    new_app: NewApp, conf: dict[str, Any], message: str
) -> None:
    app = new_app(**conf)
    counted(app)
    with pytest.raises(ConfigurationError, match=message):
        app.finalize()


def test_a_wrong_keyword_is_refused_at_once(new_app: NewApp) -> None:
    with pytest.raises(ConfigurationError, match=r"'defualt_ttl'.*did you mean 'default_ttl'"):
        TaskCache(new_app(), defualt_ttl=5)
    with pytest.raises(ConfigurationError, match=r"taskcache_timeout=-1: must be more than 0"):
        TaskCache(new_app(), timeout=-1)


def test_annotations_change_options_and_are_checked(new_app: NewApp) -> None:
    app = new_app(task_annotations={"tuned": {"cache_ttl": 5}})
    task, _ = counted(app, name="tuned", cache_ttl=1000)
    task.delay(1)
    assert task.cache.explain(1).remaining <= 5
    app = new_app(task_annotations={"tuned": {"cache_ttl": -5}})
    task, _ = counted(app, name="tuned")
    with pytest.raises(ConfigurationError, match=r"'tuned': cache_ttl=-5"):
        app.finalize()


def test_class_attributes_and_inheritance(new_app: NewApp) -> None:
    class Short(CachedTask):
        abstract = True
        cache_ttl = 5

    app = new_app()
    runs = []

    class Triple(Short):
        name = "triple"
        cache_ignore = ("note",)

        def run(self, x: int, note: str = "") -> int:
            runs.append(x)
            return 3 * x

    task = app.register_task(Triple())
    assert [task.delay(2, note="a").get(), task.delay(2, note="b").get()] == [6, 6]
    assert runs == [2]
    assert task.cache.explain(2).remaining <= 5


def test_a_call_of_the_users_own_runs_only_when_the_task_does(new_app: NewApp) -> None:
    """Flask's way to push an app context: overriding __call__, with and without super()."""
    entered = []

    class WithContext(CachedTask):
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            entered.append("run")
            return self.run(*args, **kwargs)

    class WithSuper(WithContext):
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            entered.append("super")
            return super().__call__(*args, **kwargs)

    app = new_app()
    runs = []

    @app.task(shared=False, base=WithSuper)
    def double(x: int) -> int:
        runs.append(x)
        return 2 * x

    assert [double.delay(1).get(), double.delay(1).get()] == [2, 2]
    assert (runs, entered) == ([1], ["super", "run"])
    assert double(5) == 10
    assert runs == [1, 5]


def test_a_task_that_calls_itself_directly_is_a_function_inside(new_app: NewApp) -> None:
    app = new_app()
    runs = []

    @app.task(shared=False, base=CachedTask)
    def factorial(n: int) -> int:
        runs.append(n)
        return n * factorial(n - 1) if n > 1 else 1

    assert factorial.delay(5).get() == 120
    assert runs == [5, 4, 3, 2, 1]
    assert factorial.delay(5).get() == 120
    assert len(runs) == 5


def test_celerys_own_tasks_are_never_cached(new_app: NewApp) -> None:
    app = new_app(task_cls=CachedTask)
    own = [task for name, task in app.tasks.items() if name.startswith("celery.")]
    assert len(own) > 5
    assert all(isinstance(task, CachedTask) for task in own)
    assert not any(task.cache_policy.enabled for task in own)


class Point(BaseModel):
    x: int


@pytest.mark.skipif(not hasattr(celery_base, "pydantic_wrapper"), reason="since Celery 5.5")
def test_pydantic_tasks(new_app: NewApp) -> None:
    app = new_app()
    runs = []

    @app.task(shared=False, base=CachedTask, pydantic=True)
    def move(point: Point, by: int = 1) -> Point:
        runs.append(point)
        return Point(x=point.x + by)

    results = [move.delay({"x": 1}), move.delay(point={"x": 1}, by=1)]
    assert [result.get() for result in results] == [{"x": 2}, {"x": 2}]
    assert runs == [Point(x=1)]


def test_bound_tasks_are_keyed_without_self(new_app: NewApp) -> None:
    app = new_app()

    @app.task(shared=False, base=CachedTask, bind=True)
    def who(self: Task, x: int) -> str:
        return str(self.request.id)

    first = who.delay(1).get()
    assert who.delay(1).get() == first
    assert who.delay(x=2).get() != first


def test_the_cache_can_be_turned_off(new_app: NewApp) -> None:
    app = new_app(taskcache_enabled=False)
    task, runs = counted(app)
    assert [task.delay(1).get(), task.delay(1).get()] == [2, 2]
    assert runs == [1, 1]
    assert task.cache.set(1, 1) is False
    one_off, runs = counted(new_app(), cache_enabled=False)
    assert [one_off.delay(1).get(), one_off.delay(1).get()] == [2, 2]
    assert runs == [1, 1]
    assert one_off.cache.explain(1).status == "bypass"


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml"])
@pytest.mark.parametrize("compression", [None, "zlib", "bzip2", "zstd"])
def test_serializers_and_compressors_of_kombu(
    new_app: NewApp, serializer: str, compression: str | None
) -> None:
    if serializer == "yaml":
        pytest.importorskip("yaml")
    if compression not in (None, *CODECS.compressors):
        pytest.skip(f"kombu has no {compression} here: it is an extra")
    task, runs = counted(new_app(), cache_serializer=serializer, cache_compression=compression)
    assert [task.delay(21).get(), task.delay(21).get()] == [42, 42]
    assert runs == [21]


def test_another_secret_cant_read_or_make_entries(new_app: NewApp) -> None:
    apps = [new_app(taskcache_secret=secret) for secret in ("one", "two")]
    tasks = [counted(app, name="secret")[0] for app in apps]
    assert tasks[0].cache.call(1) == 2
    assert tasks[0].cache.explain(1).status == "hit"
    assert tasks[1].cache.explain(1).status == "miss", "its keys are others, too"
    assert tasks[0].cache.key(1) != tasks[1].cache.key(1)


def test_r1_a_hit_is_what_the_run_returned_or_there_is_none(new_app: NewApp) -> None:
    """With pickled results a tuple is a tuple; JSON would make a list of it."""
    app = new_app(result_serializer="pickle", accept_content=["pickle", "json"])
    runs = []

    @app.task(shared=False, base=CachedTask)
    def pair(x: int) -> Any:
        runs.append(x)
        return (x, x) if x else [x]

    assert [pair.delay(1).get(), pair.delay(1).get()] == [(1, 1), (1, 1)]
    assert runs == [1, 1]
    assert TaskCache(app).stats().tasks[pair.name].fills == {"unserializable": 2}
    assert [pair.delay(0).get(), pair.delay(0).get()] == [[0], [0]]
    assert runs == [1, 1, 0]


def test_no_site_at_all_is_refused(new_app: NewApp) -> None:
    with pytest.raises(ConfigurationError, match=r"cache_sites=\(\).*cache_enabled=False"):
        counted(new_app(), cache_sites=())


def test_s4_a_hit_inside_another_ones_completion_has_its_value(new_app: NewApp) -> None:
    """It is completed after that one; who asks for it in there doesn't wait for itself."""
    app = new_app(task_always_eager=False)
    task, _ = counted(app)
    got = []

    class Asking(CachedTask):
        abstract = True

        def on_success(self, *_: Any) -> None:
            got.append(task.delay(1).get(timeout=5))

    @app.task(shared=False, base=Asking)
    def asking() -> int:
        return 0

    task.cache.set(2, 1)
    asking.cache.set(0)
    result = asking.delay()
    assert result.get(timeout=5) == 0
    assert got == [2]


def test_threads_that_come_at_once_get_one_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two memories would be two caches, and equal calls in both of them run twice."""
    barrier, build = threading.Barrier(8), runtime_provider.build

    def slowly(*arguments: Any) -> Any:
        barrier.wait(10)  # nobody is first
        return build(*arguments)

    monkeypatch.setattr(runtime_provider, "build", slowly)
    cache = TaskCache(Celery(set_as_current=False))
    with ThreadPoolExecutor(8) as threads:
        built = [threads.submit(lambda: cache.runtime) for _ in range(8)]
    assert len({id(each.result()) for each in built}) == 1
