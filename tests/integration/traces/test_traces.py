"""What an SDK sees of calls: their trees are those of the page, and the meter's figures add up."""

from typing import Any

import pytest

from tests.integration.traces.document import documented, played

pytestmark = pytest.mark.one_server_kind


@pytest.fixture(scope="module", params=["opentelemetry", "sentry"])
def sdk(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, played(request.param)


def certain(trees: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without looks in a worker that find nothing: on a slow machine there is one more."""

    def is_certain(line: str) -> bool:
        return "cache.hit=False" not in line or "site=producer" in line

    return {title: [line for line in lines if is_certain(line)] for title, lines in trees.items()}


def test_each_scene_looks_as_documented(sdk: tuple[str, dict[str, Any]]) -> None:
    name, result = sdk
    assert certain(result["trees"]) == certain(documented(name))


def test_a_request_is_one_tree_whatever_answers(sdk: tuple[str, dict[str, Any]]) -> None:
    """A hit at the producer makes no trace, and no transaction, of its own."""
    for title, lines in sdk[1]["trees"].items():
        assert [line for line in lines if not line.startswith(" ")] == lines[:1], title
        assert "GET /" in lines[0]


def test_figures(sdk: tuple[str, dict[str, Any]]) -> None:
    name, result = sdk
    if name == "sentry":
        return
    figures = result["figures"]
    assert figures["taskcache.hits"] == len(result["trees"]) - 1  # all scenes but the miss
    assert figures["taskcache.misses"] >= 7
    assert figures["taskcache.fills"] == figures["taskcache.run.duration"]
    assert figures["taskcache.wait.duration"] == 1
    assert figures["keys seen"] == 0  # they may hold what belongs to users


def test_sentry_s_keys_have_no_labels(sdk: tuple[str, dict[str, Any]]) -> None:
    name, result = sdk
    if name == "sentry":
        assert result["figures"]["keys"]
        assert all(key.count(":") == 1 for key in result["figures"]["keys"])
