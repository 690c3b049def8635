"""Tags, and what labels show of a text: the same on both sides of a message."""

from collections.abc import Iterator

import pytest

from tests.unit.core.test_identity import keyer
from tta_taskcache.core.labels import tags_of_callable


def test_i1_tags_of_a_generator_are_all_there() -> None:
    def tags(x: int) -> Iterator[str]:
        yield f"x:{x}"
        yield "all"

    def body(x: int) -> None: ...

    assert keyer(body, tags=tags).identify((1,), {}, {}).tags == ("x:1", "all")


@pytest.mark.parametrize("produced", ["text", b"bytes", [1], iter([None]), None])
def test_i1_what_is_no_collection_of_strings_is_refused(produced: object) -> None:
    with pytest.raises(TypeError):
        tags_of_callable(produced)


def test_k1_halves_of_a_character_are_one_on_both_sides() -> None:
    def body(x: str) -> None: ...

    task = keyer(body, key="{x}", tags=("x:{x}",))
    halves, whole = "\ud83d\ude00", "\U0001f600"
    assert task.identify((halves,), {}, {}, task.json) == task.identify((whole,), {}, {})
    assert task.identify((halves,), {}, {}).key != task.identify((whole,), {}, {}).key
