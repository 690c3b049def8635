"""K5: a default is in no message, so the body gets it as it is, whatever it would arrive as."""

from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from kombu.utils import json as kombu_json

from tests.unit.core.test_identity import EXAMPLES, VALUES, keyer, told_apart
from tta_taskcache.errors import UnkeyableArgument

pytestmark = pytest.mark.timeout(120 + EXAMPLES // 20)


class Unit(Enum):
    KM = "km"


@given(VALUES, VALUES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_k5_a_default_has_the_key_of_an_argument_only_if_the_body_gets_the_same(
    default: Any, sent: Any
) -> None:
    def body(x: Any = default) -> None: ...

    task = keyer(body, key="{x}")
    try:
        arrived = kombu_json.loads(kombu_json.dumps(sent))
        omitted = task.identify((), {}, {}, task.json)
        given_ = task.identify((sent,), {}, {}, task.json)
    except (TypeError, UnkeyableArgument):
        return  # a message can't carry it, or it has no key
    assert (omitted.key == given_.key) == (told_apart(default) == told_apart(arrived))
    assert task.identify((), {}, {}) == omitted, "the worker's"
    assert task.identify((arrived,), {}, {}) == given_, "the worker's"


@pytest.mark.parametrize("default", [{1, 2}, Unit.KM, timedelta(1), frozenset()])
def test_k5_a_default_that_no_message_could_carry_has_a_key(default: Any) -> None:
    def body(x: Any = default) -> None: ...

    task = keyer(body, key="{x}", tags=("x:{x}",))
    assert task.identify((), {}, {}, task.json) == task.identify((), {}, {})


def test_k5_functions_of_the_policy_get_the_default_itself() -> None:
    found: list[Any] = []

    def tags(x: Any) -> list[str]:
        found.append(x)
        return ["tag"]

    def body(x: Any = (1, {2: 3})) -> None: ...

    task = keyer(body, tags=tags)
    assert task.identify((), {}, {}, task.json).tags == ("tag",)
    assert found == [(1, {2: 3})]
    assert task.binder.arguments((), {}) == {"x": (1, {2: 3})}
