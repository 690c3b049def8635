"""A process's copies of partitions: their bound, and embedders that change."""

import numpy as np

from tta_taskcache.semantic.partition_copy import Copies, PartitionCopy


def unit(dimensions: int, at: int = 0) -> np.ndarray:
    vector = np.zeros(dimensions, np.float32)
    vector[at] = 1.0
    return vector


def test_many_small_partitions_are_bounded_and_the_last_used_stay() -> None:
    copies = Copies(max_bytes=100_000)
    for number in range(500):
        copy = copies.of(f"p{number}")
        copy.put("k", "text", unit(8))
        copies.shrink(copy)
    assert 1 < len(copies) < 100
    assert copies.size <= 100_000
    assert len(copies.of("p499")) == 1
    assert len(copies.of("p0")) == 0


def test_one_that_is_larger_than_the_bound_stays() -> None:
    copies = Copies(max_bytes=1_000)
    copy = copies.of("p")
    for number in range(100):
        copy.put(f"k{number}", "text", unit(8))
        copies.shrink(copy)
    assert len(copies) == 1
    assert len(copies.of("p")) == 100


def test_vectors_of_other_dimensions_are_no_neighbours() -> None:
    copy = PartitionCopy("p")
    copy.put("old", "text", unit(8))
    copy.put("new", "text", unit(4))
    assert [near.key for near in copy.nearest(unit(8), 5, 0.5)] == ["old"]
    assert [near.key for near in copy.nearest(unit(4), 5, 0.5)] == ["new"]
    assert copy.nearest(unit(2), 5, 0.5) == []
    copy.put("old", "text", unit(4, 1))  # embedded anew
    assert copy.nearest(unit(8), 5, 0.5) == []
    assert len(copy) == 2
    copy.keep(1)
    assert len(copy) == 1
    copy.remove("new")
    copy.remove("old")
    assert len(copy) == 0


def test_a_known_vector_is_its_texts() -> None:
    copy = PartitionCopy("p")
    copy.put("k", "text", unit(4, 2))
    known = copy.vector_of("k", "text")
    assert known is not None
    assert known.tolist() == unit(4, 2).tolist()
    assert copy.vector_of("k", "another text") is None
    assert copy.vector_of("another", "text") is None
