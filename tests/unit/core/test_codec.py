"""Results become bytes and come back as they were (R1), or are refused (R1b)."""

import json
import math
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tta_taskcache.celery.config.serializers import CODECS
from tta_taskcache.core.results.codec import Codecs, Compressor, Serializer, json_dumps, json_loads
from tta_taskcache.errors import EntryError, UnserializableResult

ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(timezones=ZONES).map(lambda moment: moment.replace(fold=0)),
    st.dates(),
    st.times(timezones=ZONES).map(lambda moment: moment.replace(fold=0)),
    st.decimals(allow_nan=False),
    st.uuids(),
)
#: Dict keys that look like marks of types, ours and kombu's.
NAMES = st.one_of(st.text(), st.sampled_from(["__type__", "__value__", "t", "v", "\\u0000t"]))
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)), max_leaves=10
)


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value), repr(value))


@given(VALUES)
def test_r1_comes_back_as_it_was(value: Any) -> None:
    again = json_loads(json_dumps(value))
    assert again == value
    assert typed(again) == typed(value)


@pytest.mark.parametrize("value", [None, 0, 0.0, -0.0, "", [], {}, False, b"", "\0", "null"])
def test_r1_nothing_is_a_value(value: Any) -> None:
    again = json_loads(json_dumps(value))
    assert (again, type(again), repr(again)) == (value, type(value), repr(value))


def test_r1_numbers_that_equal_nothing() -> None:
    assert math.isnan(json_loads(json_dumps(math.nan)))
    assert json_loads(json_dumps(Decimal("NaN"))).is_nan()


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "datetime", "__value__": "2024-01-02"},
        {"__type__": "nonsense", "__value__": [1]},
        {"__type__": "bytes", "__value__": "x", "more": 1},
        {"t": "uuid", "v": "x"},
        {"\\u0000t": "uuid", "v": "x"},
        '{"\\u0000t":"uuid","v":"x"}',
    ],
)
def test_r1_dicts_that_look_like_marked_types_are_dicts(value: Any) -> None:
    assert json_loads(json_dumps(value)) == value
    assert json_loads(json_dumps([value, b"x"])) == [value, b"x"]


@given(st.dictionaries(st.sampled_from(["\0t", "v", "t"]), st.text(), min_size=1))
@example({"\0t": "uuid", "v": "0" * 32})
@example({"\0t": "nonsense"})
def test_r1_our_own_mark_is_refused_or_kept(value: dict[str, str]) -> None:
    try:
        data = json_dumps([value, UUID(int=0)])
    except UnserializableResult:
        assert "\0t" in value or "\0t" in value.values()
    else:
        assert json_loads(data) == [value, UUID(int=0)]


@pytest.mark.parametrize("value", [{"\0t": 1}, {"a": {"\0t": {}}}, ["\0t"]])
def test_r1b_our_own_mark_is_refused(value: Any) -> None:
    with pytest.raises(UnserializableResult, match="marks types"):
        json_dumps(value)


def test_r1_tuples_come_back_as_lists_as_from_any_result_backend() -> None:
    assert json_loads(json_dumps({"a": (1, (2,))})) == {"a": [1, [2]]}


class Colour(Enum):
    RED = 1


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [{1}, timedelta(1), Colour.RED, object(), {(1, 2): 3}, {b"k": 1}, 1j, CYCLE, DEEP, 10**5_000],
    ids=["set", "timedelta", "Enum", "object", "tuple key", "bytes key", "1j", "cycle", "deep",
         "digits"],
)  # fmt: skip
def test_r1b_what_json_cant_carry_is_refused(value: Any) -> None:
    for refuse in (json_dumps, lambda v: CODECS.encode(v, "json", None)):
        with pytest.raises(UnserializableResult):
            refuse(value)


def test_r1b_whatever_a_serializer_raises_is_a_refusal() -> None:
    def broken(_: Any) -> Any:
        raise ZeroDivisionError

    codecs = Codecs({"broken": Serializer("broken", broken, broken)}, {})
    with pytest.raises(UnserializableResult, match="broken"):
        codecs.encode(1, "broken", None)
    with pytest.raises(EntryError) as refused:
        codecs.decode(b"1", "broken", None)
    assert refused.value.reason == "corrupt"


def test_r1b_whatever_a_compressor_raises_is_a_refusal() -> None:
    def broken(_: bytes) -> bytes:
        raise MemoryError

    codecs = Codecs(compressors={"broken": Compressor("broken", broken, broken)})
    with pytest.raises(UnserializableResult):
        codecs.encode(1, "json", "broken")


def test_r2_every_reader_gets_an_object_of_its_own() -> None:
    data = CODECS.encode({"a": [1]}, "json", None)
    first, second = (CODECS.decode(data, "json", None) for _ in range(2))
    first["a"].append(2)
    assert second == {"a": [1]}


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml"])
@pytest.mark.parametrize("compression", [None, "zlib", "gzip", "bzip2"])
def test_kombus_serializers_and_compressors(serializer: str, compression: str | None) -> None:
    value = {"a": [1, None, "é"], "b": "x" * 1_000}
    data = CODECS.encode(value, serializer, compression)
    assert isinstance(data, bytes)
    assert CODECS.decode(data, serializer, compression) == value
    assert (len(data) < 500) == (compression is not None)


@given(
    data=st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.builds(
            lambda kind, text: json.dumps({"\0t": kind, "v": text}).encode(),
            st.one_of(st.text(), st.sampled_from(["uuid", "bytes", "decimal", "date"])),
            st.one_of(st.text(), st.none(), st.lists(st.text())),
        ),
    ),
    serializer=st.sampled_from(["json", "pickle", "yaml", "nonsense"]),
    compression=st.sampled_from([None, "zlib", "nonsense"]),
)
def test_r4_garbage_is_an_entry_error(data: bytes, serializer: str, compression: Any) -> None:
    try:
        CODECS.decode(data, serializer, compression)
    except EntryError as error:
        assert error.reason == "corrupt"  # noqa: PT017 - garbage may be valid, too


def test_r4_deep_json_is_an_entry_error() -> None:
    with pytest.raises(EntryError):
        CODECS.decode(b"[" * 1_000_000, "json", None)


def execute() -> Callable[..., Any]:
    raise AssertionError("executed")


class Bomb:
    def __reduce__(self) -> Any:
        return execute, ()


@pytest.mark.parametrize("serializer", ["json", "yaml"])
def test_r4_a_pickle_is_executed_by_nothing_but_pickle(serializer: str) -> None:
    with pytest.raises(EntryError):
        CODECS.decode(pickle.dumps(Bomb()), serializer, None)


def test_r4_yaml_builds_no_objects() -> None:
    with pytest.raises(EntryError):
        CODECS.decode(b"!!python/object/apply:os.getpid []", "yaml", None)


def test_dates_of_every_kind_keep_their_type() -> None:
    values = [datetime(2024, 1, 2, tzinfo=UTC), date(2024, 1, 2), time(1, 2, 3, 4)]
    assert [type(v) for v in json_loads(json_dumps(values))] == [datetime, date, time]
