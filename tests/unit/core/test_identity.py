"""K5: two calls have one key only if the body can't tell them apart, however they get to it."""

import os
import pickle
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from tests.unit.core.keyers import keyer
from tta_taskcache.celery.calls import message_form
from tta_taskcache.celery.config.serializers import reduce
from tta_taskcache.core.arguments.canonical import EXACT, Form, canonical
from tta_taskcache.errors import UnkeyableArgument

EXAMPLES = int(os.environ.get("IDENTITY_EXAMPLES", "400"))

pytestmark = pytest.mark.timeout(120 + EXAMPLES // 20)

JSON = Form(exact=False, reduce=reduce)


class Unit(str, Enum):  # noqa: UP042 - as users write it
    KM = "km"


class Level(IntEnum):
    LOW = 1


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - as users write it

MOMENT = datetime(2024, 1, 2, tzinfo=UTC)
LEAVES = st.sampled_from(
    [
        None, True, False, 0, 1, 1.0, -0.0, 0.0, float("nan"), "", "1", "true", "null", "km", b"1",
        b"", bytearray(b"1"), Decimal("1.0"), Decimal("1.00"), Unit.KM, Level.LOW, MOMENT,
        MOMENT.replace(tzinfo=None), MOMENT.astimezone(ZoneInfo("Europe/Berlin")),
        MOMENT.astimezone(timezone(timedelta(hours=1))), "\ud83d\ude00", "\U0001f600",
        MOMENT.astimezone(timezone(timedelta(hours=1), "X")), date(2024, 1, 2), time(1),
        time(1, fold=1), timedelta(1), timedelta(hours=24), UUID(int=1), 1j, frozenset({1}), (),
        [], {},
    ]
)  # fmt: skip
KEYS = st.sampled_from(["1", 1, True, "true", None, "null", 1.0, "1.0", Level.LOW, "a"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.tuples(inner, inner).map(lambda two: Pair(*two)),
        st.dictionaries(KEYS, inner, max_size=2),
        st.dictionaries(KEYS, inner, max_size=2).map(OrderedDict),
        st.sets(st.sampled_from([1, "1", None, (1,)]), max_size=2),
    ),
    max_leaves=4,
)


def told_apart(value: Any) -> Any:
    """What a body can tell of a value; the order of dicts aside (K1)."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if type(value) is OrderedDict:
        return kind, tuple((told_apart(key), told_apart(item)) for key, item in value.items())
    if isinstance(value, dict):
        pairs = ((told_apart(key), told_apart(item)) for key, item in value.items())
        return kind, frozenset(pairs)
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(told_apart, value))
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(told_apart, value))
    return kind, repr(value)


def sent(value: Any, serializer: str) -> tuple[Any, bytes]:
    """What the body gets of a value, and the producer's canonical form of it."""
    if serializer == "json":
        return kombu_json.loads(kombu_json.dumps(value)), canonical(value, JSON)
    if serializer == "pickle":
        return pickle.loads(pickle.dumps(value)), canonical(value)  # noqa: S301 - made just here
    (got,), _ = message_form.received((value,), {}, serializer)
    return got, canonical(got)


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_k5_two_calls_have_one_key_only_if_a_body_cannot_tell_them_apart(serializer: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(VALUES, VALUES)
    def check(one: Any, other: Any) -> None:
        try:
            got, form = sent(one, serializer)
            got_other, other_form = sent(other, serializer)
        except (TypeError, UnkeyableArgument):
            return  # a message can't carry it, or it has no key
        assert (form == other_form) == (told_apart(got) == told_apart(got_other))

    check()


@given(VALUES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_k5_a_worker_has_the_producers_key_whatever_brought_the_call(value: Any) -> None:
    for serializer in ("json", "pickle", "yaml", "msgpack"):
        try:
            got, form = sent(value, serializer)
        except (TypeError, UnkeyableArgument):
            continue
        assert canonical(got, EXACT) == form, serializer


class Money(float):
    """Says more than its number."""

    __slots__ = ("currency",)


@pytest.mark.parametrize("value", [Money(1), object(), type("Text", (str,), {})("a"), Ellipsis])
def test_k5_what_may_say_more_than_it_shows_has_no_key(value: Any) -> None:
    with pytest.raises(UnkeyableArgument):
        canonical(value)


def test_k5_a_default_that_the_body_changes_stays_the_default() -> None:
    def body(k: int, found: list[int] = []) -> None:  # noqa: B006 - that's the point
        found.append(k)

    task = keyer(body)
    before = task.identify((1,), {}, {}).key
    body(1)
    assert task.identify((1,), {}, {}).key == before


def test_k5_the_arguments_of_a_star_are_one_whatever_brought_them() -> None:
    def body(*args: int) -> None: ...

    task = keyer(body)
    assert task.identify((1, 2), {}, {}).key == task.identify((1, 2), {}, {}, task.json).key


def test_k5_what_a_message_cannot_carry_has_no_key_even_where_another_value_wins() -> None:
    """Of several dict keys with one spelling the last wins; the message has to write them all."""

    def body(x: dict[object, object]) -> None: ...

    task = keyer(body)
    with pytest.raises(UnkeyableArgument):
        task.identify(({"1": {2}, 1: None},), {}, {}, task.json)
    merged = task.identify(({"1": 0, 1: None},), {}, {}, task.json)
    assert merged == task.identify(({"1": None},), {}, {}, task.json)
