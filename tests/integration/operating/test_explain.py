"""Why a call missed: `explain` names in what it differs from the nearest that is stored."""

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery

from tests.integration import cli_app
from tests.integration.harness import Harness
from tests.integration.operating.command_line import run_celery
from tests.support.servers import Server
from tests.support.workers import Worker
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.calls.identification import request_of_caller
from tta_taskcache.celery.lookup.nearest_entry import find_nearest
from tta_taskcache.core.entries.entry import unpack
from tta_taskcache.core.identity import traits

pytestmark = pytest.mark.one_server_kind

CLI_APP = "tests.integration.cli_app"
FORECAST = f"{CLI_APP}.forecast"

#: What is stored: no two calls have an argument or header in common but those of one near miss.
STORED = 30


@dataclass(frozen=True)
class Made:
    """A call: its arguments by name, and its headers."""

    kwargs: dict[str, Any]
    headers: dict[str, str]


def make_app(server: Server, version: str) -> Any:
    """An app with one task; of another version is another deployment of the same code."""
    app = Celery("shop", set_as_current=False)

    @app.task(
        base=CachedTask,
        shared=False,
        name="shop.price",
        cache_vary=("tenant", "locale"),
        cache_version=version,
        cache_ignore=("trace",),
    )
    def price(
        sku: str, count: int = 1, *, options: dict[str, Any], tags: list[Any], trace: str = ""
    ) -> None:
        tags.append("changed by the run")

    TaskCache(app, url=server.url(2), timeout=5)
    return app.tasks["shop.price"]


def draw(dice: random.Random, about: str) -> Any:
    number = dice.randrange(10**9)
    match about:
        case "count":
            return dice.choice([number, float(number), -number])
        case "options":
            return {"color": str(number), "deep": {"x": [number]}}
        case "tags":
            return [number, dice.choice([None, True, "1", 1.5])]
    return f"{about} {number}"


ARGUMENTS = ("sku", "count", "options", "tags")
HEADERS = ("tenant", "locale")


def random_call(dice: random.Random) -> Made:
    return Made({n: draw(dice, n) for n in ARGUMENTS}, {n: draw(dice, n) for n in HEADERS})


def near_miss(dice: random.Random, call: Made, name: str) -> tuple[Made, str]:
    """The call with something else in one place, and what that is called."""
    if name in HEADERS:
        return Made(call.kwargs, call.headers | {name: draw(dice, name)}), f"header {name!r}"
    new = draw(dice, name)
    # The smallest differences there are: the type alone, or one more element.
    if name == "count":
        new = str(call.kwargs["count"])
    elif name == "tags":
        new = [*call.kwargs["tags"], None]
    return Made(call.kwargs | {name: new}, call.headers), f"argument {name!r}"


def explained(task: Any, call: Made) -> Any:
    with task.taskcache().context(**call.headers):
        return task.cache.explain(**call.kwargs)


@pytest.mark.parametrize("seed", range(3))
def test_it_names_what_differs_in_20_near_misses_of_20(redis_server: Server, seed: int) -> None:
    dice = random.Random(seed)
    task, next_version = make_app(redis_server, "1"), make_app(redis_server, "2")
    calls = [random_call(dice) for _ in range(STORED)]
    for call in calls:
        with task.taskcache().context(**call.headers):
            # A run that changes its arguments: they are its own, as a message's would be.
            task.cache.call(**call.kwargs)
        assert "changed by the run" not in call.kwargs["tags"]
    named: list[tuple[str, ...]] = []
    wanted: list[tuple[str, ...]] = []
    for i in range(20):
        call = dice.choice(calls)
        name = [*ARGUMENTS, *HEADERS, "version"][i % 7]
        if name == "version":
            asked, told = next_version, (call, traits.VERSION)
        else:
            asked, told = task, near_miss(dice, call, name)
        explanation = explained(asked, told[0])
        assert (explanation.status, explanation.search.compared) == ("miss", STORED)
        named.append(explanation.search.nearest.differs)
        wanted.append((told[1],))
        with task.taskcache().context(**call.headers):
            assert explanation.search.nearest.key == task.cache.key(**call.kwargs)
    assert named == wanted
    # And a stored call is a hit, whatever is ignored.
    stored = explained(task, Made(calls[0].kwargs | {"trace": "x"}, calls[0].headers))
    assert (stored.status, stored.search) == ("hit", None)


def test_no_argument_is_kept_in_clear(redis_server: Server) -> None:
    task = make_app(redis_server, "1")
    call = Made(
        {"sku": "secret sku", "count": 987654321, "options": {"password": "hunter2"}, "tags": []},
        {"tenant": "secret tenant", "locale": "sv"},
    )
    with task.taskcache().context(**call.headers):
        task.cache.call(**call.kwargs)
        key = task.cache.key(**call.kwargs | {"tags": []})
    frame: Any = redis_server.client(2).get(f"taskcache:e:{{{key}}}")
    for text in (b"secret", b"987654321", b"hunter2", b"sv", b"sku"):
        assert text not in frame
    # Four characters a part: shape, version, two headers, four arguments (one is ignored).
    assert len(unpack(key, frame).traits) == 4 * 8


def test_other_parameters_are_named_as_such(redis_server: Server) -> None:
    task = make_app(redis_server, "1")
    headers = {"tenant": "t", "locale": "sv"}
    with task.taskcache().context(**headers):
        task.cache.set(1, sku="a", options={}, tags=[])
    app = Celery("shop", set_as_current=False)

    @app.task(base=CachedTask, shared=False, name="shop.price")
    def price(sku: str) -> None: ...

    TaskCache(app, url=redis_server.url(2), timeout=5)
    assert price.cache.explain("a").search.nearest.differs == (traits.SHAPE,)


def test_a_search_is_bounded(redis_server: Server) -> None:
    task = make_app(redis_server, "1")
    with task.taskcache().context(tenant="t", locale="sv"):
        for i in range(15):
            task.cache.set(i, sku=str(i), options={}, tags=[])
        request = request_of_caller(task, (), {"sku": "x", "options": {}, "tags": []})
        own = request.with_traits(request.identified()).traits
    subjects = task.cache_keyer.subjects
    search = find_nearest(task.cache_runtime, task.name, subjects, own, max_entries=10)
    assert (search.compared, search.is_complete) == (10, False)
    assert "of the first 10 stored calls of this task (there are more)" in str(search)


def test_what_a_worker_stored_is_compared_with(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.add")
    task.delay(harness.tag, 1, 2).get(timeout=30)
    search = task.cache.explain(harness.tag, 1, 3).search
    assert search.nearest.differs == ("argument 'y'",)
    assert search.nearest.key == task.cache.key(harness.tag, 1, 2)
    assert search.nearest.task_id is not None


# The command


Explain = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def explain(redis_server: Server) -> Explain:
    env = {
        "CELERY_BROKER_URL": redis_server.url(5),
        "CELERY_RESULT_BACKEND": redis_server.url(1),
        "TASKCACHE_URL": redis_server.url(2),
    }
    cli_app.app.finalize()
    TaskCache(cli_app.app, url=redis_server.url(2), timeout=5)
    cli_app.app.tasks[FORECAST].cache.call("u42", "Berlin")

    def run(*args: str) -> "subprocess.CompletedProcess[str]":
        return run_celery(CLI_APP, env, "cache", "explain", *args)

    return run


def test_the_command_names_the_argument(explain: Explain) -> None:
    done = explain(FORECAST, "u42", "city=Bonn")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("MISS: nothing is stored")
    assert "\nDiffers in   argument 'city'\n" in done.stdout
    assert f"\nNearest      {FORECAST}:u42:Berlin:" in done.stdout
    assert '\nArguments    user = "u42"\n             city = "Bonn"\n' in done.stdout
    hit = explain(FORECAST, "u42", "Berlin", "--json")
    assert (hit.returncode, hit.stderr) == (0, "")
    told = json.loads(hit.stdout)
    assert (told["status"], told["layer"], told["stale"]) == ("hit", "l2", False)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("tests.integration.cli_app.forecat", "u", "x"), f"did you mean {FORECAST!r}?"),
        (("tests.integration.cli_app.plain", "1"), "isn't a cached task of this app"),
        (
            (FORECAST, "u42"),
            "a call of tests.integration.cli_app.forecast has no such arguments",
        ),
        ((FORECAST, "u42", "x", "--header", "tenant"), "must be NAME=VALUE"),
    ],
)
def test_the_command_says_what_is_wrong(explain: Explain, args: tuple[str, ...], told: str) -> None:
    done = explain(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
