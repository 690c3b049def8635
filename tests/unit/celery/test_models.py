"""K5: what identifies a call with a pydantic model is all that its body can see in it."""

import dataclasses
from typing import Any

import pytest
from celery import Celery
from celery.app import base

from tta_taskcache import CachedTask
from tta_taskcache.celery.calls.identification import request_of_message, request_of_sender

pydantic = pytest.importorskip("pydantic")

pytestmark = pytest.mark.skipif(
    not hasattr(base, "pydantic_wrapper"), reason="models are arguments since Celery 5.5"
)


@dataclasses.dataclass
class Point:
    x: list[int]


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    steps: list[int] = pydantic.Field(default_factory=list, exclude=True)


class Ask(pydantic.BaseModel):
    tags: set[str] = pydantic.Field(default_factory=set)
    order: list[str] = pydantic.Field(default_factory=list, exclude=True)
    path: list[int] = pydantic.Field(default_factory=list)
    inner: Inner = Inner()
    point: Point | None = None

    @pydantic.field_serializer("path")
    def _length(self, path: list[int]) -> int:
        return len(path)


class Choosy(pydantic.BaseModel):
    tags: list[str] = pydantic.Field(default_factory=list)

    @pydantic.field_validator("tags")
    @classmethod
    def _wants_context(cls, tags: list[str], info: Any) -> list[str]:
        return [tag for tag in tags if tag in info.context["allowed"]]


@pytest.fixture
def app() -> Celery:
    return Celery(broker="memory://", set_as_current=False)


@pytest.fixture
def ask(app: Celery) -> Any:
    @app.task(base=CachedTask, name="ask", pydantic=True, shared=False)
    def ask(ask: Ask = Ask(tags={"a", "b"})) -> None: ...  # noqa: B008 - users do it

    return ask


def key(task: Any, *args: Any) -> str:
    sender = request_of_sender(task, args, {}, {}).identified().key
    assert sender == request_of_message(task, args, {}, None).identified().key
    return sender


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"order": ["a", "b"]}, {"order": ["b", "a"]}),
        ({"path": [1, 2]}, {"path": [2, 1]}),
        ({"inner": {"steps": [1, 2]}}, {"inner": {"steps": [2, 1]}}),
        ({"inner": {"more": [1, 2]}}, {"inner": {"more": [2, 1]}}),
        ({"point": {"x": [1, 2]}}, {"point": {"x": [2, 1]}}),
    ],
    ids=str,
)
def test_k5_the_order_of_what_a_dump_leaves_out_counts(ask: Any, one: Any, other: Any) -> None:
    assert key(ask, one) != key(ask, other)


def test_k5_the_order_of_a_set_does_not(ask: Any) -> None:
    assert key(ask, {"tags": ["a", "b"]}) == key(ask, {"tags": ["b", "a"]})


def test_k5_a_model_as_a_default_has_a_key_of_its_own(ask: Any) -> None:
    assert key(ask) not in (key(ask, {}), key(ask, {"tags": ["a", "b"]}))


def test_k5_a_validator_that_fails_here_is_no_fault(app: Celery) -> None:
    @app.task(base=CachedTask, name="choosy", pydantic=True, shared=False)
    def choosy(ask: Choosy) -> None: ...

    assert key(choosy, {"tags": ["a", "b"]}) != key(choosy, {"tags": ["b", "a"]})
