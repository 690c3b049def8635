"""A map that keeps its bounds, whatever is put into it."""

from collections import OrderedDict
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.stores.bounded_map import BoundedMap, RecentKeys


@dataclass(frozen=True)
class Item:
    size: int
    name: str = ""


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 12)),
        st.tuples(st.sampled_from(["get", "drop"]), st.sampled_from("abcdef"), st.just(0)),
        st.tuples(st.just("clear"), st.just(""), st.just(0)),
    ),
    max_size=60,
)


@given(st.integers(0, 4), st.integers(0, 25), steps)
def test_is_an_lru_bounded_by_bytes_and_entries(
    max_entries: int, max_bytes: int, todo: list[tuple[str, str, int]]
) -> None:
    found: BoundedMap[Item] = BoundedMap(max_entries, max_bytes)
    model: OrderedDict[str, Item] = OrderedDict()
    told: list[int] = []
    found.evicted, evicted = told.append, 0

    def total() -> int:
        return sum(item.size for item in model.values())

    for step, key, size in todo:
        match step:
            case "put":
                item = Item(size, key)
                found.put(key, item)
                model.pop(key, None)
                if size <= max_bytes:
                    model[key] = item
                while len(model) > max_entries or total() > max_bytes:
                    model.popitem(last=False)
                    evicted += 1
            case "get":
                assert found.get(key) == model.get(key)
                if key in model:
                    model.move_to_end(key)
            case "drop":
                found.drop(key)
                model.pop(key, None)
            case "clear":
                found.clear()
                model.clear()
        assert len(found) == len(model) <= max_entries
        assert found.size == total() <= max_bytes
        assert sum(told) == evicted
        assert 0 not in told
        assert dict(found.items()) == dict(model)


@pytest.mark.parametrize("max_bytes", [0, 1, 999])
def test_what_is_too_large_replaces_nothing_but_its_predecessor(max_bytes: int) -> None:
    found: BoundedMap[Item] = BoundedMap(10, max_bytes)
    found.put("small", Item(0))
    found.put("big", Item(max_bytes))
    found.put("big", Item(max_bytes + 1))
    assert found.get("big") is None
    assert found.get("small") == Item(0)


def test_items_are_a_copy() -> None:
    found: BoundedMap[Item] = BoundedMap(10, 10)
    found.put("a", Item(1))
    copy = found.items()
    found.clear()
    assert copy == [("a", Item(1))]


def test_a_flag_is_one_takers_for_a_while() -> None:
    flags = RecentKeys(100)
    assert flags.take("a", 0.0, 5.0)
    assert not flags.take("a", 4.9, 5.0)
    assert flags.take("b", 4.9, 5.0)
    assert flags.take("a", 5.0, 5.0)
    flags.drop("a")
    assert flags.take("a", 5.1, 5.0)


def test_flags_are_bounded() -> None:
    flags = RecentKeys(10)
    for i in range(100):
        assert flags.take(str(i), 0.0, 5.0)
        assert len(flags._until) <= 10
