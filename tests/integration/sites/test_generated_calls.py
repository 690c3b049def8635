"""K5: whatever is called, and in whatever way, an answer of the cache is what a run would say."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from hypothesis import given, settings
from kombu.exceptions import KombuError
from kombu.utils import json as kombu_json

from tests.unit.core.test_identity import VALUES, told_apart
from tta_taskcache import CachedTask, TaskCache

EXAMPLES = int(os.environ.get("IDENTITY_EXAMPLES", "100"))

pytestmark = pytest.mark.timeout(120 + EXAMPLES // 10)

#: What a message may be in, and how it gets there without one.
WAYS = ("json", "pickle", "yaml", "msgpack", "apply", "map", "starmap", "call")


def description(seen: Any) -> str:
    """A text of what a body sees; what has no order is sorted."""
    if isinstance(seen, frozenset):
        return "{" + ", ".join(sorted(map(description, seen))) + "}"
    if isinstance(seen, tuple):
        return "(" + ", ".join(map(description, seen)) + ")"
    return str(seen).encode("ascii", "backslashreplace").decode()


def make_task(app: Celery, name: str, **options: Any) -> Any:
    @app.task(name=name, shared=False, **options)
    def describe(x: Any = (1, {2: 3})) -> str:
        return description(told_apart(x))

    return describe


@pytest.fixture(scope="module")
def tasks() -> Iterator[tuple[Any, Any]]:
    """A cached task and the same without a cache, in an app with a memory of its own."""
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_always_eager=True, accept_content=["json", "pickle", "yaml", "msgpack"])
    TaskCache(app)
    yield make_task(app, "cached", base=CachedTask, cache_ttl=3600), make_task(app, "plain")
    app.close()


def answer(task: Any, way: str, args: tuple[Any, ...]) -> Any:
    """What a caller gets of a call made in one way."""
    match way:
        case "apply":
            return task.apply(args).get()
        case "map" if args:
            return task.map(args).apply().get()
        case "starmap" | "map":
            return task.starmap([args]).apply().get()
        case "call":
            return task.cache.call(*args) if hasattr(task, "cache") else direct(task, args)
    return task.apply_async(args, serializer=way).get()


def direct(task: Any, args: tuple[Any, ...]) -> Any:
    """A direct call's arguments are those of a message, where one carries them."""
    with suppress(TypeError, ValueError):
        args = kombu_json.loads(kombu_json.dumps(args))
    return task(*args)


def outcome(ask: Callable[..., Any], *args: Any) -> Any:
    try:
        return ask(*args)
    except (KombuError, TypeError, ValueError) as error:
        return type(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_k5_an_answer_is_what_a_run_would_say(tasks: tuple[Any, Any], way: str) -> None:
    cached, plain = tasks
    assert answer(cached, way, ()) == answer(plain, way, ())

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(VALUES)
    def check(value: Any) -> None:
        expected = outcome(answer, plain, way, (value,))
        assert outcome(answer, cached, way, (value,)) == expected
        assert outcome(answer, cached, way, (value,)) == expected

    check()


@pytest.fixture(autouse=True, scope="module")
def _some_were_hits(tasks: tuple[Any, Any]) -> Iterator[None]:
    yield
    assert sum(TaskCache(tasks[0].app).stats().tasks["cached"].hits.values()) > len(WAYS)
