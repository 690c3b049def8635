"""The items of a batch (D5): which they are, and what a body has returned for each."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.keyers import keyer
from tta_taskcache.core.arguments.batch_items import read_items, read_results, unique
from tta_taskcache.core.options.option_values import Choices
from tta_taskcache.core.options.policy import read_policy
from tta_taskcache.core.semantic.semantic_policy import Semantic
from tta_taskcache.core.warm_policy import Warm
from tta_taskcache.errors import BatchArgumentError, BatchResultError, ConfigurationError


def embed(tenant: str, texts: Any = (), *, model: str = "small", debug: bool = False) -> None:
    """A task with a list among its arguments."""


def keys_of(texts: Any, *args: Any, **kwargs: Any) -> list[str]:
    made = keyer(embed, each="texts")
    return [one.key for one in made.identify_each(("t", texts, *args), kwargs, {}, made.json)]


@given(st.lists(st.text(max_size=3)))
def test_d5_different_items_are_numbered_as_they_come(keys: list[str]) -> None:
    firsts, places = unique(keys)
    assert [keys[first] for first in firsts] == list(dict.fromkeys(keys))
    assert [keys[firsts[number]] for number in places] == keys
    assert all(keys.index(keys[first]) == first for first in firsts)


def test_d5_an_items_key_is_that_of_the_call_with_it_in_the_lists_place() -> None:
    made = keyer(embed, each="texts", key="{texts}", tags=("text:{texts}",))
    first, second = made.identify_each(("t", ["a", "b"]), {}, {}, made.json)
    assert first == made.identify(("t", "a"), {}, {}, made.json)
    assert second.tags == ("text:b",)
    assert ":a:" in first.key


def test_d5_an_items_key_is_the_same_in_any_list_and_however_it_is_given() -> None:
    assert keys_of(["a", "b"])[1] == keys_of(["b"])[0] == keys_of(("c", "b"))[1]
    made = keyer(embed, each="texts")
    (named,) = made.identify_each(("t",), {"texts": ["b"]}, {}, made.json)
    assert named.key == keys_of(["b"])[0]
    assert keys_of(["b"], model="large") != keys_of(["b"])
    assert keys_of([]) == []
    assert keys_of([1, True, "1", 1.0]) == list(dict.fromkeys(keys_of([1, True, "1", 1.0])))


@pytest.mark.parametrize(
    ("args", "kwargs", "replaced"),
    [
        (("t", ["a"]), {}, (("t", ["x"]), {})),
        (("t",), {"texts": ["a"]}, (("t",), {"texts": ["x"]})),
        (("t",), {}, (("t",), {"texts": ["x"]})),
    ],
)
def test_d5_the_body_gets_other_items_where_the_list_was(
    args: Any, kwargs: Any, replaced: Any
) -> None:
    assert keyer(embed, each="texts").with_items(args, kwargs, ["x"]) == replaced


def test_d5_a_keyword_only_list_behind_others() -> None:
    def rest(*others: int, texts: list[str]) -> None: ...

    made = keyer(rest, each="texts")
    assert made.with_items((1, 2, 3), {"texts": ["a"]}, ["x"]) == ((1, 2, 3), {"texts": ["x"]})


@pytest.mark.parametrize("value", ["abc", None, {"a": 1}, {1, 2}, 7])
def test_d5_what_is_no_list_is_refused(value: Any) -> None:
    kind = type(value).__name__
    with pytest.raises(BatchArgumentError, match=f"must be a list or a tuple, not {kind}$"):
        read_items("t", "texts", value)


def test_d5_a_generator_is_refused_with_what_to_write() -> None:
    with pytest.raises(BatchArgumentError, match=r"not generator; write list\(texts\)"):
        read_items("t", "texts", (text for text in "ab"))


@given(st.lists(st.integers(), unique=True), st.data())
def test_d5_results_are_a_list_or_a_mapping(items: list[int], data: st.DataObject) -> None:
    by_item = {item: item * 2 for item in data.draw(st.permutations([*items, "more"]))}
    assert read_results("t", items, [item * 2 for item in items]) == [i * 2 for i in items]
    assert read_results("t", items, by_item) == [i * 2 for i in items]


@pytest.mark.parametrize(
    ("items", "returned", "message"),
    [
        ([1, 2, 3], [1, 2], "returned 2 results for 3 items"),
        ([1], [1, 2], "returned 2 results for 1 items"),
        ([1, 2, 3], {1: 1}, "returned results for 1 of 3 items; missing: 2, 3"),
        ([1, 2, 3, 4, 5], {}, "missing: 1, 2, 3, …"),
        ([1, 2], None, "returned NoneType for 2 items"),
        ([1, 2], "ab", "returned str for 2 items"),
        ([[1], [2]], {1: 1}, "a dict for items that can't be its keys"),
    ],
)
def test_d5_too_few_or_too_many_results_say_both_numbers(
    items: list[Any], returned: Any, message: str
) -> None:
    with pytest.raises(BatchResultError, match=re.escape(message)) as refused:
        read_results("proj.embed", items, returned)
    assert "'proj.embed'" in str(refused.value)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("errors", {KeyError: 60}, "allowed: cache_stale_if_error"),
        ("verify", 0.1, "allowed: cache_shadow"),
        ("warm", Warm(every=60, hot=3), r"allowed: Warm\(calls=…\)"),
        ("semantic", Semantic(on="tenant", embed=list, threshold=0.9), "allowed: exact keys"),
    ],
)
def test_d5_what_cant_go_with_it_is_refused(option: str, value: Any, allowed: str) -> None:
    options = {"each": "texts", option: value}
    with pytest.raises(ConfigurationError, match=allowed) as refused:
        read_policy("proj.embed", options, Choices(("tenant", "texts")), default_ttl=60)
    assert f"task 'proj.embed': cache_{option}" in str(refused.value)
    assert "cache_each='texts'" in str(refused.value)


def test_d5_it_must_be_an_argument_that_is_part_of_the_key_and_no_star() -> None:
    def stars(*texts: str, **more: str) -> None: ...

    with pytest.raises(ConfigurationError, match="part of the key; allowed: tenant, model, debug"):
        keyer(embed, each="texts", ignore=("texts",))
    for name in ("texts", "more"):
        with pytest.raises(ConfigurationError, match="allowed: none"):
            keyer(stars, each=name)
