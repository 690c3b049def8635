"""Marks, and the decision what an entry is worth (R5, I1, I2, I5)."""

from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.decide import Verdict, decide
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.marks import Ban
from tta_taskcache.core.options.policy import Policy
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


def test_i1_marks_of_tags_and_patterns_are_never_those_of_others() -> None:
    of = [marks.of_task, marks.of_key, marks.of_tag, marks.of_pattern, marks.replaced]
    names = {make(text) for make in of for text in ("x", "*", "t:x", "b:x")}
    assert len(names) == len(of) * 4
    assert marks.EVERYTHING not in names
    assert set(marks.of_call("a", "x", ["y", "*"])) == {"*", "t:a", "k:x", "g:y", "g:*"}


def test_i3_only_bans_have_a_pattern_and_only_wide_marks_are_worth_a_sweep() -> None:
    assert marks.pattern_of(marks.of_pattern("b:*")) == "b:*"
    narrow = [marks.of_key("x"), marks.of_tag("b:x"), marks.replaced("x")]
    wide = [marks.EVERYTHING, marks.of_task("x")]
    assert {marks.pattern_of(name) for name in (*narrow, *wide)} == {None}
    assert not any(map(marks.is_wide, narrow))
    assert all(map(marks.is_wide, [*wide, marks.of_pattern("x")]))


def test_i1_banned_at_the_newest_that_matches() -> None:
    bans = [Ban("x*", 9), Ban("y*", 7), Ban("*", 4), Ban("x1", 2)]
    assert [marks.banned_at(key, bans) for key in ("x1", "y", "z")] == [9, 7, 4]
    assert marks.banned_at("y", bans, after=6) == 7
    assert marks.banned_at("y", bans, after=7) == 0
    assert marks.banned_at("x", ()) == 0


@given(
    born=st.integers(0, 5),
    key=st.sampled_from(["a", "b", "ab"]),
    at=st.dictionaries(st.sampled_from(["a", "b", "a*", "*", "?b"]), st.integers(0, 5)),
)
def test_i1_i2_valid_while_no_ban_that_matches_is_younger(
    born: int, key: str, at: dict[str, int]
) -> None:
    matching = {"a": "a", "b": "b", "a*": "a ab", "*": "a b ab", "?b": "ab"}
    younger = [p for p, sequence in at.items() if sequence > born and key in matching[p].split()]
    bans = sorted((Ban(p, sequence) for p, sequence in at.items()), key=lambda ban: -ban.sequence)
    entry, here = make_entry(key, Position("i", born)), Position("i", 5)
    assert marks.is_valid(entry, {}, here, bans) == (not younger)
    verdict = decide(entry, 1, {}, here, POLICY, bans=bans)
    assert verdict is (Verdict.INVALIDATED if younger else Verdict.FRESH)


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
