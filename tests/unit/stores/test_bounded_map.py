"""A map that keeps its bounds, whatever is put into it, and what is asked for again."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.stores.memory.bounded_map import (
    GHOSTS,
    HITS_TO_STAY,
    MOST_HITS,
    NEW_SHARE,
    BoundedMap,
    Ghosts,
    RecentKeys,
)


@dataclass
class Item:
    size: int
    name: str = ""
    hits: int = field(default=0, compare=False)


class Model:
    """S3-FIFO in its plainest form."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.new: OrderedDict[str, Item] = OrderedDict()
        self.main: OrderedDict[str, Item] = OrderedDict()
        self.ghosts = Ghosts()
        self.evicted = 0

    def total(self, *queues: OrderedDict[str, Item]) -> int:
        return sum(
            item.size for queue in queues or (self.new, self.main) for item in queue.values()
        )

    @property
    def contents(self) -> dict[str, Item]:
        return {**self.new, **self.main}

    def put(self, key: str, item: Item) -> None:
        queue = self.main if key in self.main else self.new
        self.drop(key)
        if item.size > self.max_bytes:
            return
        if self.ghosts.take(key, GHOSTS * len(self.contents)):
            queue = self.main
        self.make_room(item.size, 1)
        queue[key] = item
        self.make_room(0, 0)

    def get(self, key: str) -> Item | None:
        item = self.contents.get(key)
        if item is not None:
            item.hits = min(MOST_HITS, item.hits + 1)
        return item

    def drop(self, key: str) -> None:
        self.new.pop(key, None)
        self.main.pop(key, None)

    def make_room(self, size: int, entries: int) -> None:
        while self.contents and (
            self.total() + size > self.max_bytes or len(self.contents) + entries > self.max_entries
        ):
            if not self.main or (self.new and self.is_new_full()):
                self.evict_new()
            else:
                self.evict_main()

    def is_new_full(self) -> bool:
        return self.total(self.new) * 100 >= self.total() * NEW_SHARE

    def evict_new(self) -> None:
        key, item = self.new.popitem(last=False)
        if item.hits >= HITS_TO_STAY:
            item.hits = 0
            self.main[key] = item
            if self.new:
                self.evict_new()
            else:
                self.evict_main()
            return
        self.ghosts.add(key, GHOSTS * len(self.contents))
        self.evicted += 1

    def evict_main(self) -> None:
        key, item = self.main.popitem(last=False)
        if item.hits:
            item.hits -= 1
            self.main[key] = item
            self.evict_main()
            return
        self.evicted += 1


KEYS = "abcdefgh"

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 12)),
        st.tuples(st.sampled_from(["get", "get", "drop"]), st.sampled_from(KEYS), st.just(0)),
        st.tuples(st.just("clear"), st.just(""), st.just(0)),
    ),
    max_size=80,
)


@given(st.integers(0, 6), st.integers(0, 40), steps)
def test_is_an_s3_fifo_bounded_by_bytes_and_entries(
    max_entries: int, max_bytes: int, todo: list[tuple[str, str, int]]
) -> None:
    found: BoundedMap[Item] = BoundedMap(max_entries, max_bytes)
    model = Model(max_entries, max_bytes)
    told: list[int] = []
    found.evicted = told.append
    for step, key, size in todo:
        match step:
            case "put":
                found.put(key, Item(size, key))
                model.put(key, Item(size, key))
            case "get":
                assert found.get(key) == model.get(key)
            case "drop":
                found.drop(key)
                model.drop(key)
            case "clear":
                found.clear()
                evicted, model = model.evicted, Model(max_entries, max_bytes)
                model.evicted = evicted
        assert dict(found.items()) == model.contents
        assert len(found) == len(model.contents) <= max_entries
        assert found.size == model.total() <= max_bytes
        assert sum(told) == model.evicted
        assert 0 not in told


def hits(found: BoundedMap[Item], keys: Iterator[str]) -> int:
    """Read keys through the map; count those that it had."""
    count = 0
    for key in keys:
        if found.get(key) is None:
            found.put(key, Item(1, key))
        else:
            count += 1
    return count


@pytest.mark.parametrize("bound", ["entries", "bytes"])
def test_a_scan_displaces_nothing_that_is_asked_for_again(bound: str) -> None:
    found: BoundedMap[Item] = (
        BoundedMap(100, 10_000) if bound == "entries" else BoundedMap(10_000, 100)
    )
    popular = [f"popular {n}" for n in range(50)]
    for _ in range(4):
        hits(found, iter(popular))
    hits(found, (f"once {n}" for n in range(1_000)))
    assert hits(found, iter(popular)) == 50


def test_what_comes_back_soon_stays() -> None:
    found: BoundedMap[Item] = BoundedMap(100, 10_000)
    hits(found, (f"first {n}" for n in range(150)))
    returning = [f"first {n}" for n in range(20)]
    assert hits(found, iter(returning)) == 0
    hits(found, (f"second {n}" for n in range(150)))
    assert hits(found, iter(returning)) > 10, "some have shared a place among the ghosts"


def test_ghosts_are_the_last_that_were_evicted() -> None:
    ghosts = Ghosts()
    for n in range(2_000):
        ghosts.add(str(n), 1_000)
    assert not any(ghosts.take(str(n), 1_000) for n in range(1_000))
    assert sum(ghosts.take(str(n), 1_000) for n in range(1_000, 2_000)) > 500, "some share a place"
    assert not any(ghosts.take(str(n), 1_000) for n in range(2_000)), "each is taken once"


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
