"""Keys of functions, for tests of them."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from tta_taskcache.celery.config.serializers import reduce
from tta_taskcache.core.arguments.binding import Binder
from tta_taskcache.core.identity.keys import Keyer
from tta_taskcache.core.options.option_values import Choices
from tta_taskcache.core.options.policy import read_policy


class KeysOnly(Keyer):
    def key(self, args: Any, kwargs: Any, headers: Any) -> str:
        return self.identify(args, kwargs, headers, self.json).key


def keyer(function: Callable[..., Any], task: str = "proj.task", **options: Any) -> KeysOnly:
    binder = Binder(function)
    policy = read_policy(task, options, Choices(binder.names), default_ttl=60)
    return KeysOnly(task, binder, policy, reduce, source=function)


def one(value: Any) -> Any:
    return value


def key_of(value: Any) -> str:
    return keyer(one).key((value,), {}, {})


# The model: a value is what kombu's JSON makes of it


def received(value: Any) -> Any:
    """What a worker gets."""
    return kombu_json.loads(kombu_json.dumps(value))


class Colour(StrEnum):
    RED = "red"


class Mixed(str, Enum):  # noqa: UP042 - its str() is not its value: the usual kind before 3.11
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Text(str):  # noqa: SLOT000 - as users write it
    def __str__(self) -> str:
        return "something else"


class Stamp(datetime):
    """Says more than a message carries, as pandas' Timestamp does."""

    def isoformat(self, *args: Any, **kwargs: Any) -> str:
        return super().isoformat(*args, **kwargs) + "123"


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - as users write it


ZONES = st.sampled_from(
    [None, UTC, timezone(timedelta(hours=5, minutes=30)), ZoneInfo("Europe/Berlin")]
)


KEYS = st.one_of(st.text(max_size=5), st.integers(-3, 3), st.booleans(), st.none(), st.floats())


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Lu"]), max_size=4),
    st.binary(),
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(timezones=st.sampled_from([None, UTC])),
    st.decimals(),
    st.uuids(),
    st.sampled_from([Colour.RED, Mixed.RED, Number.ONE, Text("x"), Stamp(2024, 1, 2)]),
)


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.tuples(inner, inner).map(lambda two: Pair(*two)),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict),
    ),
    max_leaves=8,
)


def order(user: Any, item: Any = 1, debug: bool = False) -> Any:
    return user, item, debug
