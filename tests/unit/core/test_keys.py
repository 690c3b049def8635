"""Promises K1 to K4: what identifies a call."""

# ruff: noqa: ARG005 - signatures are what it is about

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.core.keyers import (
    LEAVES,
    VALUES,
    Colour,
    Mixed,
    Number,
    Stamp,
    key_of,
    keyer,
    one,
    received,
)
from tta_taskcache.core.arguments.binding import Binder
from tta_taskcache.core.arguments.canonical import canonical
from tta_taskcache.core.identity.keys import KEY_FORMAT
from tta_taskcache.errors import ConfigurationError, MissingContext, UnkeyableArgument


def meaning(value: Any) -> Any:
    """What a worker gets, so that ``==`` compares types, too, and not the order of dicts."""

    def frozen(item: Any) -> Any:
        if isinstance(item, dict):
            return ("dict", frozenset((k, frozen(v)) for k, v in item.items()))
        if isinstance(item, list):
            return ("list", tuple(map(frozen, item)))
        return (type(item).__name__, repr(item))

    return frozen(received(value))


MOMENT = datetime(2024, 1, 2, tzinfo=UTC)


#: Values that are easily taken for each other.
LIKE = [
    None, True, False, 0, 1, 0.0, -0.0, 1.0, "", "1", "1.0", "true", "null", "None", "n", "t", b"",
    b"1", "31", Decimal(1), Decimal("1.00"), "NaN", float("nan"), float("inf"), "inf", "Infinity",
    MOMENT, MOMENT.replace(tzinfo=None), MOMENT.astimezone(timezone(timedelta(hours=1))),
    MOMENT.isoformat(), date(2024, 1, 2), "2024-01-02", time(0), time(0, tzinfo=UTC), "00:00:00",
    UUID(int=1), UUID(int=1).hex, str(UUID(int=1)), Colour.RED, Mixed.RED, "red", Number.ONE,
    Stamp(2024, 1, 2), MOMENT.replace(tzinfo=None), "s1:1", "i1;", [], (), {}, "[]", [[]], ((),),
]  # fmt: skip


SMALL = st.recursive(
    st.sampled_from(LIKE),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner),
        st.dictionaries(
            st.sampled_from(
                ["1", 1, True, "true", None, "null", 1.0, "1.0", float("nan"), "nan", "NaN"]
            ),
            inner,
            max_size=2,
        ),
    ),
    max_leaves=3,
)


@given(VALUES)
@example({float("inf"): 1})
@example({float("nan"): 1})
@example("\ud83d\ude00")
@example({"\ud83d\ude00": 1})
@example(Stamp(2024, 1, 2))
def test_k1_the_worker_computes_the_producers_key(value: Any) -> None:
    try:
        there = received(value)
    except ValueError:
        pytest.fail("the strategies make what a message can carry")
    assert key_of(value) == key_of(there)


@given(SMALL, SMALL)
@example({float("inf"): 1}, {"inf": 1})
@example({float("nan"): 1}, {"nan": 1})
@example({1: 1}, {"1": 1})
def test_k1_equal_keys_exactly_for_equal_meanings(first: Any, second: Any) -> None:
    assert (key_of(first) == key_of(second)) == (meaning(first) == meaning(second))


def test_k1_values_easily_taken_for_each_other() -> None:
    for first in LIKE:
        for second in LIKE:
            same = meaning(first) == meaning(second)
            assert (key_of(first) == key_of(second)) == same, (first, second)


@given(st.lists(SMALL, max_size=3), st.lists(SMALL, max_size=3))
def test_k1_arguments_do_not_run_into_each_other(first: list[Any], second: list[Any]) -> None:
    def many(*args: Any) -> Any: ...

    same = meaning(first) == meaning(second)
    key = keyer(many).key
    assert (key(first, {}, {}) == key(second, {}, {})) == same


@given(st.dictionaries(st.text(max_size=3), LEAVES), st.randoms())
def test_k1_order_of_dicts_and_sets_does_not_matter(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert key_of(dict(items)) == key_of(value)
    names = list(value)
    assert canonical(set(names)) == canonical({*reversed(names)})


def test_k1_one_and_its_relatives_differ() -> None:
    assert len({key_of(value) for value in (1, 1.0, True, "1", Decimal(1), b"1", [1])}) == 7


def test_k1_the_last_of_two_dict_keys_with_one_spelling_counts() -> None:
    assert key_of({1: "a", "1": "b"}) == key_of({"1": "b"}) != key_of({"1": "a"})


class Reduced:
    """Kombu's way for a type of one's own."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __json__(self) -> Any:
        return self.value


def test_k1_types_that_kombu_is_taught_are_what_they_become() -> None:
    assert key_of(Reduced({"a": 1})) == key_of({"a": 1})
    assert key_of([Reduced((1, 2))]) == key_of([[1, 2]])


# Signatures


@st.composite
def signatures(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """The source of a parameter list, and its parameters by name and kind."""
    names = iter("abcdefgh")
    required = [next(names) for _ in range(draw(st.integers(0, 2)))]
    optional = [next(names) for _ in range(draw(st.integers(0, 2)))]
    positional = [*required, *(f"{name}={i}" for i, name in enumerate(optional))]
    only = draw(st.integers(0, len(positional)))
    star = draw(st.sampled_from(["", "*", "*args"]))
    keyword = [next(names) for _ in range(draw(st.integers(0, 2)))]
    if star == "*" and not keyword:
        star = ""
    keyword = keyword if star else []
    rest = draw(st.sampled_from(["", "**kwargs"]))
    pieces = [*positional[:only], *(["/"] if only else []), *positional[only:]]
    pieces += [star] if star else []
    pieces += [name if draw(st.booleans()) else f"{name}='d'" for name in keyword]
    pieces += [rest] if rest else []
    kinds = [(n, "only" if i < only else "any") for i, n in enumerate(required + optional)]
    return ", ".join(pieces), [*kinds, *((name, "keyword") for name in keyword)]


def compiled(parameters: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(f"def f({parameters}): return locals()", namespace)  # noqa: S102 - our own text
    function: Callable[..., Any] = namespace["f"]
    return function


@given(signatures(), st.data())
def test_k1_every_spelling_of_a_call_has_one_key(
    signature: tuple[str, list[tuple[str, str]]], data: st.DataObject
) -> None:
    parameters, kinds = signature
    function = compiled(parameters)
    key = keyer(function).key
    values = {name: data.draw(st.integers(0, 2)) for name, _ in kinds}

    def parse_call_spec() -> tuple[list[int], dict[str, int]]:
        positional = [name for name, kind in kinds if kind != "keyword"]
        fixed = sum(kind == "only" for _, kind in kinds)
        cut = data.draw(st.integers(fixed, len(positional)))
        named = [n for n, _ in kinds if n not in positional[:cut]]
        order = data.draw(st.permutations(named))
        return [values[n] for n in positional[:cut]], {n: values[n] for n in order}

    args, kwargs = parse_call_spec()
    again = parse_call_spec()
    assert key(args, kwargs, {}) == key(*again, {})
    # The function itself is the model of what is bound to what, defaults among it.
    bound = function(*args, **kwargs)
    assert Binder(function).arguments(args, kwargs) == bound
    explicit = {n: bound[n] for n, kind in kinds if kind != "only"}
    only = [bound[n] for n, kind in kinds if kind == "only"]
    assert key(only, explicit, {}) == key(args, kwargs, {})


@given(signatures(), st.lists(st.integers(), max_size=4), st.data())
def test_k1_a_call_that_does_not_fit_is_a_type_error(
    signature: tuple[str, list[tuple[str, str]]], args: list[int], data: st.DataObject
) -> None:
    function = compiled(signature[0])
    kwargs = data.draw(st.dictionaries(st.sampled_from("abcdxyz"), st.integers(), max_size=3))
    try:
        expected = function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            keyer(function).key(args, kwargs, {})
    else:
        assert Binder(function).arguments(args, kwargs) == expected


def test_k1_defaults_are_part_of_the_call() -> None:
    def f(x: int, /, y: int = 2, *rest: int, z: str = "z", **more: int) -> None: ...

    key = keyer(f).key
    base = key((1,), {}, {})
    assert key((1, 2), {}, {}) == base == key((1,), {"y": 2, "z": "z"}, {})
    others = [((1, 3), {}), ((1, 2, 3), {}), ((1,), {"z": "y"}), ((1,), {"w": 1}), ((2,), {})]
    assert len({base, *(key(args, kwargs, {}) for args, kwargs in others)}) == 6


def test_k1_tasks_parameters_and_formats_differ() -> None:
    assert keyer(one, "a").key((1,), {}, {}) != keyer(one, "b").key((1,), {}, {})
    renamed = keyer(lambda other: other).key((1,), {}, {})
    assert renamed != key_of(1)


def test_k1_ignored_arguments_do_not_count() -> None:
    def f(user: str, trace: str = "", *args: int, **kwargs: int) -> None: ...

    key = keyer(f, ignore=("trace", "kwargs")).key
    assert key(("u", "1"), {}, {}) == key(("u",), {"trace": "2", "x": 1}, {}) == key("u", {}, {})
    assert key(("u",), {}, {}) != key(("v",), {}, {})
    assert key(("u", "", 1), {}, {}) != key(("u", "", 2), {}, {})


def test_k1_ignored_arguments_may_be_anything() -> None:
    key = keyer(lambda x, _connection: x, ignore=("_connection",)).key
    assert key((1, object()), {}, {}) == key((1, None), {}, {})


# Vary headers (K3)


def test_k3_headers_are_part_of_the_call() -> None:
    key = keyer(one, vary=("tenant", "lang")).key
    base = key((1,), {}, {"tenant": "a", "lang": "de"})
    assert key((1,), {}, {"lang": "de", "tenant": "a", "other": 1}) == base
    assert key((1,), {}, {"tenant": "de", "lang": "a"}) != base
    assert key((1,), {}, {"tenant": "a", "lang": "en"}) != base
    assert keyer(one, vary=("lang", "tenant")).key((1,), {}, {"tenant": "a", "lang": "de"}) == base


@pytest.mark.parametrize("headers", [{}, {"tenant": None}, {"Tenant": "a"}])
def test_k3_a_missing_header_is_said(headers: dict[str, Any]) -> None:
    with pytest.raises(MissingContext, match=r"'proj\.task'.*'tenant'.*cache\.context\(tenant="):
        keyer(one, vary=("tenant",)).key((1,), {}, headers)


@pytest.mark.parametrize("value", ["", 0, False])
def test_k3_an_empty_header_is_a_value(value: Any) -> None:
    key = keyer(one, vary=("tenant",)).key
    assert key((1,), {}, {"tenant": value}) != key((1,), {}, {"tenant": "a"})


def test_k3_declaring_a_header_changes_the_key() -> None:
    assert keyer(one, vary=("tenant",)).key((1,), {}, {"tenant": "a"}) != key_of(1)


# Versions (K4): a new one never serves old entries


def test_k4_a_new_version_has_other_keys() -> None:
    keys = {keyer(one, version=v).key((1,), {}, {}) for v in (None, "1", "2", "source", "Source")}
    assert len(keys) == 5
    assert keyer(one, version=1).key((1,), {}, {}) == keyer(one, version="1").key((1,), {}, {})


def test_k4_source_follows_the_source() -> None:
    def first(value: Any) -> Any:
        return value

    def same() -> Callable[..., Any]:
        def first(value: Any) -> Any:
            return value

        return first

    def second(value: Any) -> Any:
        return value + 1

    def key(function: Callable[..., Any]) -> str:
        return keyer(function, version="source").key((1,), {}, {})

    assert key(first) == key(first)
    assert key(first) != key(second)
    assert key(same()) == key(same())


def test_k4_without_source_it_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"'proj\.task'.*cache_version='source'"):
        keyer(compiled("x"), version="source")


# What has no key


class Unknown:
    pass


CYCLE: list[Any] = []


CYCLE.append(CYCLE)


ITSELF = Reduced(None)


ITSELF.value = ITSELF


@pytest.mark.parametrize(
    "value",
    [
        Unknown(),
        Unknown,
        object(),
        [{"a": (Unknown(),)}],
        timedelta(1),
        1j,
        {(1, 2): 3},
        {b"1": 2},
        CYCLE,
        ITSELF,
        {"__type__": "uuid", "__value__": 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_k1_what_a_message_cant_carry_has_no_key(value: Any) -> None:
    with pytest.raises(UnkeyableArgument):
        key_of(value)


def test_k1_a_number_that_json_refuses_has_no_key() -> None:
    # Python limits the digits of an integer's text; JSON can't carry more either.
    with pytest.raises(ValueError, match="limit"):
        received(10**5_000)
    with pytest.raises(UnkeyableArgument):
        key_of(10**5_000)


def test_k1_an_unkeyable_header_has_no_key() -> None:
    with pytest.raises(UnkeyableArgument):
        keyer(one, vary=("tenant",)).key((1,), {}, {"tenant": object()})


def test_k1_unkeyable_names_the_type_and_the_remedy() -> None:
    with pytest.raises(UnkeyableArgument, match=r"test_keys\.Unknown.*cache_ignore"):
        key_of(Unknown())


# The format


def test_k1_the_key_format_is_what_it_was() -> None:
    """Stored entries are found by these keys: whoever changes one has to raise KEY_FORMAT."""

    def summarize(user_id: str, text: str, *, model: str = "small") -> None: ...

    options = {"key": "{user_id}:{model}", "vary": ("tenant",), "version": "3"}
    call = (("u42", "…"), {}, {"tenant": "acme"})
    every_type = [
        None, True, 1, 1.5, "é", b"\0", {"b": (1, 2), "a": {3: UUID(int=5)}}, Decimal("1.50"),
        datetime(2024, 1, 2, 3, 4, 5, 6, UTC), date(2024, 1, 2), time(3, 4),
    ]  # fmt: skip
    assert KEY_FORMAT == 2
    assert [
        keyer(summarize, "proj.summarize", **options).key(*call),
        key_of(every_type),
        keyer(lambda *args, **kwargs: 0, "t").key((), {}, {}),
    ] == [
        "proj.summarize:u42:small:510e47ddc73e8ad47973790235f3fcdb",
        "proj.task:61b003533e60479e28688cf8650114ae",
        "t:aade8a6e1fb07e7821ea43186bf48ebc",
    ]
