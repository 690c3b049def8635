"""The search over a process's copy, against comparing everything; and vectors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_taskcache.semantic import vector_rows
from tta_taskcache.semantic.vector_rows import VectorRows
from tta_taskcache.semantic.vectors import packed, unpacked

CHANCE = np.random.default_rng(7)


def unit(vector: Any) -> Any:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def near(vector: Any, noise: float) -> Any:
    return unit(vector + noise * unit(CHANCE.standard_normal(len(vector))))


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_finds_what_a_dict_of_vectors_has(steps: list[tuple[int, bool]]) -> None:
    rows, model = VectorRows(8), {}
    for number, is_put in steps:
        key = f"k{number}"
        if is_put:
            model[key] = unit(CHANCE.standard_normal(8))
            rows.put(key, key.upper(), model[key])
        else:
            model.pop(key, None)
            rows.remove(key)
    query = unit(CHANCE.standard_normal(8))
    expected = sorted(((float(v @ query), k) for k, v in model.items()), reverse=True)
    found = rows.nearest(query, 3, -1.0)
    assert [c.key for c in found] == [key for _, key in expected[:3]]
    assert [c.similarity for c in found] == pytest.approx([s for s, _ in expected[:3]], abs=1e-6)
    assert all(c.text == c.key.upper() for c in found)
    assert len(rows) == len(model)


def test_removed_rows_take_no_place_among_the_nearest() -> None:
    rows, query = VectorRows(8), unit(CHANCE.standard_normal(8))
    for i in range(60):
        rows.put(f"k{i}", "", near(query, 0.01 * (i + 1)))
    for i in range(50):
        rows.remove(f"k{i}")
    assert len(rows.nearest(query, 3, -1.0)) == 3


def test_cells_find_what_is_near() -> None:
    """Past ``plain_rows``: of neighbours that are near, hardly any is overlooked."""
    centres = [unit(CHANCE.standard_normal(64)) for _ in range(300)]
    vectors = [near(centres[i % 300], 0.8) for i in range(6_000)]
    rows = VectorRows(64, plain_rows=2_000)
    for i, vector in enumerate(vectors):
        rows.put(f"k{i}", "", vector)
    assert len(rows._cells) == vector_rows.CELLS
    found = 0
    for i in range(0, 6_000, 30):
        best = rows.nearest(near(vectors[i], 0.3), 1, 0.5)
        found += bool(best) and best[0].key == f"k{i}"
    assert found >= 196  # of 200


def test_removed_rows_make_room_again() -> None:
    rows = VectorRows(4)
    for i in range(5_000):
        rows.put("k", str(i), unit(CHANCE.standard_normal(4)))
    assert len(rows) == 1
    assert rows.size < 20_000


def test_a_vector_is_sent_with_length_one() -> None:
    vector = unpacked(packed([3.0, 4.0]))
    assert vector is not None
    assert vector.tolist() == pytest.approx([0.6, 0.8], abs=1e-3)
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)
    assert unpacked(b"\0") is None
    assert unpacked(b"\0\0") is None


@pytest.mark.parametrize("wrong", [[], [0.0, 0.0], [float("nan")], [float("inf")], [[1.0]], 1.0])
def test_what_is_no_vector_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="an embedding has to be"):
        packed(wrong)
