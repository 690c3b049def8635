"""Marks, and the decision what an entry is worth (R5, I1, I2, I5)."""

from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.core import marks
from tta_taskcache.core.decide import Verdict, decide
from tta_taskcache.core.entry import Position
from tta_taskcache.core.policy import Policy
from tta_taskcache.testing import make_entry

NAMES = ["*", "t:a", "t:b", "k:x", "k:y"]
POLICY = Policy(ttl=60)


def test_i1_a_call_is_ended_by_key_task_and_everything() -> None:
    assert set(marks.of_call("a", "x")) == {"*", "t:a", "k:x"}


def test_i1_marks_of_tasks_and_keys_are_never_the_same() -> None:
    assert marks.of_task("x") != marks.of_key("x")
    assert marks.EVERYTHING not in (marks.of_task("*"), marks.of_key("*"))


@given(
    born=st.integers(0, 5),
    own=st.sets(st.sampled_from(NAMES)),
    set_marks=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5)),
    incarnation=st.sampled_from(["i", "j"]),
)
def test_i1_i2_i5_valid_while_no_own_mark_is_younger_than_its_birth(
    born: int, own: set[str], set_marks: dict[str, int], incarnation: str
) -> None:
    entry = make_entry("x", Position("i", born), marks=tuple(own))
    younger = [name for name in own if set_marks.get(name, 0) > born]
    valid = marks.is_valid(entry, set_marks, Position(incarnation, 5))
    assert valid == (not younger and incarnation == "i")


def test_i2_an_invalidation_at_birth_ended_only_what_was_before() -> None:
    entry = make_entry("x", Position("i", 3))
    assert marks.is_valid(entry, {"*": 3}, Position("i", 3))
    assert not marks.is_valid(entry, {"*": 4}, Position("i", 4))


def test_verdicts_in_their_order() -> None:
    here = Position("i", 3)
    entry = make_entry("x", here, lifetime=60.0)
    other = make_entry("x", here, serializer="pickle")
    zipped = make_entry("x", here, compression="zlib")
    late = {"t:t": 4}
    assert decide(None, 1, {}, here, POLICY) is Verdict.ABSENT
    assert decide(entry, 0, late, here, POLICY) is Verdict.EXPIRED
    assert decide(entry, -0.001, {}, here, POLICY) is Verdict.EXPIRED
    assert decide(other, 1, late, here, POLICY) is Verdict.INVALIDATED
    assert decide(entry, 1, {}, Position("j", 3), POLICY) is Verdict.INVALIDATED
    assert decide(other, 1, {}, here, POLICY) is Verdict.SERIALIZER
    assert decide(zipped, 1, {}, here, POLICY) is Verdict.SERIALIZER
    assert decide(entry, 0.001, {}, here, POLICY) is Verdict.FRESH
