"""The suite notices what a completion loses: each part in turn is taken out of it (S4)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.cases import CANVASES
from tests.conformance.harness import Harness, new_tag
from tta_taskcache.celery.sites import completion, producer

pytestmark = pytest.mark.one_server_kind


class Forgetful(list[Any]):
    """Keeps nothing."""

    def append(self, _: Any) -> None:
        pass


#: What is done to the request that a hit at the producer is completed with, and a workflow in which
#: that shows.
LOST: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "callbacks": (lambda: {"callbacks": None}, "several links"),
    "children": (lambda: {"_children": Forgetful()}, "chain"),
    "chord counting": (lambda: {"chord": None}, "chord"),
    "group index": (lambda: {"group_index": None}, "chord"),
    "group": (lambda: {"group": None}, "group"),
    "parent id": (lambda: {"parent_id": None}, "chain"),
    "root id": (lambda: {"root_id": "another"}, "chain"),
    "the rest of the chain": (lambda: {"chain": None}, "chain"),
    "stamps": (lambda: {"stamps": {}, "stamped_headers": None}, "stamped"),
    "the stored result": (lambda: {"ignore_result": True}, "one"),
}


@pytest.mark.parametrize("part", LOST)
def test_s4_a_lost_part_is_noticed(
    prefork: Harness, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    lost, name = LOST[part]
    tag = new_tag()
    plain = prefork.run("plain", CANVASES[name], new_tag())
    assert not plain.difference(prefork.run("producer", CANVASES[name], tag))

    def request_for(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return completion.request_for(*args, **kwargs) | lost()

    monkeypatch.setattr(producer, "request_for", request_for)
    assert plain.difference(prefork.run("producer", CANVASES[name], tag))
