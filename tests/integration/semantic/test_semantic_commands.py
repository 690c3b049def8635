"""`cache semantic` and `cache explain` of tasks with semantic keys, run as a user would."""

import json
from collections.abc import Iterator

import pytest
from celery import Celery

from tests.integration.operating.command_line import Done, run_celery
from tests.integration.semantic import semantic_app
from tests.integration.semantic.semantic_app import make_app
from tests.support.servers import Server
from tta_taskcache import TaskCache

pytestmark = pytest.mark.one_server_kind


@pytest.fixture
def urls(redis_server: Server) -> dict[str, str]:
    names = ("CELERY_BROKER_URL", "SEMANTIC_BACKEND", "SEMANTIC_CACHE")
    return {name: redis_server.url(i) for i, name in enumerate(names)}


@pytest.fixture
def app(urls: dict[str, str]) -> Iterator[Celery]:
    app = make_app(*urls.values())
    yield app
    app.close()


def cache(urls: dict[str, str], *args: str) -> Done:
    return run_celery(semantic_app.__name__, urls, "cache", *args)


def cached(done: Done, code: int = 0) -> list[str]:
    assert done.returncode == code, done.stderr
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def measure(app: Celery) -> None:
    """Shadow three calls whose neighbour is right, and verify one whose neighbour is wrong."""
    for name, texts in {
        "shadowed": ("cats are what?", "cats are, or what?", "cats are: what?", "cats are... what"),
        "verified": ("dogs are what?", "dogs are: what?"),
    }.items():
        for text in texts:
            app.tasks[name].cache.call(text)
    runtime = TaskCache(app).runtime
    for _ in range(2):  # hands the counts over, and waits until they are
        runtime.run(runtime.engine.totals())


def test_semantic_shows_wrong_hits_and_their_bound(
    app: Celery, urls: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    measure(app)
    assert "a run returned something else than a neighbour's result" in caplog.text
    assert "equal arguments" not in caplog.text

    # Three right of three: 1 - (0.05 / 11) ** (1 / 3), as eleven thresholds are judged.
    shown = cached(cache(urls, "semantic", "shadowed", "--bound", "0.84"))
    assert shown[0] == "SIMILARITY COMPARED HITS CHECKED WRONG"
    assert "0.90 3 0 0.00% 83.43%" in shown
    assert "At threshold 0.90 at most 84.00% of the hits are wrong, with 95% confidence." in shown
    assert shown[-1].startswith("Embedding took ")
    assert "and cost 0.04;" in shown[-1]

    wrong = cached(cache(urls, "semantic", "verified"))
    assert "0.90 1 1 100.00% 100.00%" in wrong
    assert any(
        line.startswith("No threshold is known to keep wrong hits at or below 5.00%")
        and line.endswith("from 1 checked hit.")
        for line in wrong
    )

    report = json.loads(cache(urls, "semantic", "shadowed", "--json").stdout)
    counts = report["similarities"].values()
    assert sum(of.get("shadow", 0) for of in counts) == 3
    assert sum(of.get("same", 0) for of in counts) == 3
    assert (report["threshold"], report["bound"]) == (None, 0.05)
    assert report["embed_cost"] == pytest.approx(0.04)


def test_semantic_says_what_it_has_nothing_to_say_about(urls: dict[str, str]) -> None:
    unused = cache(urls, "semantic", "answer")
    assert unused.returncode == 1
    assert "no call was compared with a neighbour yet" in unused.stderr
    other = cache(urls, "semantic", "exact")
    assert other.returncode == 2
    assert "has no cache_semantic; tasks that have: answer, consumer.answer" in other.stderr


def test_explain_names_the_neighbours_and_why_they_dont_answer(
    app: Celery, urls: dict[str, str]
) -> None:
    app.tasks["answer"].cache.set("pets", "cats are what?")

    def neighbours(text: str, code: int) -> list[str]:
        shown = cached(cache(urls, "explain", "answer", text), code)
        at = next(i for i, line in enumerate(shown) if line.startswith("Neighbours "))
        return [line.removeprefix("Neighbours ")[7:] for line in shown[at:]]

    assert neighbours("cats?", 0) == ["answers: 'cats are what?'"]
    assert neighbours("cats are not what?", 1) == ["negation: 'cats are what?'"]
    assert neighbours("dogs?", 1) == ["below-threshold: 'cats are what?'"]
    exact = cached(cache(urls, "explain", "exact", "cats?"), 1)
    assert not [line for line in exact if line.startswith("Neighbours")]
