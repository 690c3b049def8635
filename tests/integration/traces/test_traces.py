"""What an SDK sees of calls: their trees are those of the page, and the meter's figures add up."""

import re
from typing import Any

import pytest

from tests.integration.traces.document import certain, documented, played

pytestmark = pytest.mark.one_server_kind

RUNS = [
    ("opentelemetry", "threads"),
    ("opentelemetry", "prefork"),
    ("sentry", "prefork"),
    ("sentry-streaming", "prefork"),
]

Trees = dict[str, list[str]]


@pytest.fixture(scope="module", params=RUNS, ids="-".join)
def run(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param[0], played(*request.param)


def compared(trees: Trees) -> Trees:
    """Without what depends on the machine's speed, and on which process has stored a result."""
    return {
        title: [re.sub("  layer=l[12]", "", line) for line in lines]
        for title, lines in certain(trees).items()
    }


def page(sdk: str) -> Trees:
    """The trees on the page. Streamed spans have no transaction that could have a tag."""
    trees = documented(sdk.removesuffix("-streaming"))
    if sdk != "sentry-streaming":
        return trees
    tagged = re.compile(r"(\[queue.task.*\])  cache.hit=True")
    return {title: [tagged.sub(r"\1", line) for line in lines] for title, lines in trees.items()}


def test_each_scene_looks_as_documented(run: tuple[str, dict[str, Any]]) -> None:
    sdk, result = run
    assert compared(result["trees"]) == compared(page(sdk))


def test_a_request_is_one_tree_whatever_answers(run: tuple[str, dict[str, Any]]) -> None:
    """A hit at the producer makes no trace, and no transaction, of its own."""
    for title, lines in run[1]["trees"].items():
        assert [line for line in lines if not line.startswith(" ")] == lines[:1], title
        assert "GET /" in lines[0]


def test_no_key_shows_what_belongs_to_users(run: tuple[str, dict[str, Any]]) -> None:
    sdk, result = run
    keys = result["figures"]["keys"]
    if sdk == "opentelemetry":
        assert keys == []
    else:  # without its label, ``user:…``
        assert keys
        assert all(key.count(":") == 1 for key in keys)


def test_k3_the_context_reaches_each_step(run: tuple[str, dict[str, Any]]) -> None:
    """Sentry's integration shows tasks a copy of their headers, from before they are published."""
    told, stored = run[1]["context"]
    assert told == "acme 2"
    assert len(stored) == 3


def test_figures(run: tuple[str, dict[str, Any]]) -> None:
    sdk, result = run
    figures = result["figures"]
    if sdk != "opentelemetry" or "taskcache.run.duration" not in figures:
        return  # each process has a meter of its own: those of threads are this one's
    hits = [title for title in result["trees"] if not title.startswith("A miss")]
    assert figures["taskcache.hits"] == len(hits)
    assert figures["taskcache.misses"] >= 7
    assert figures["taskcache.fills"] == figures["taskcache.run.duration"]
    assert figures["taskcache.wait.duration"] == 1
