"""Bans in L1's copy of the log (I1, I3)."""

import pytest

from tests.unit.stores.entries import HERE, ban, new, put
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.marks import Ban
from tta_taskcache.stores.protocol import Record


def test_i1_a_ban_read_ends_what_matches() -> None:
    l1 = new()
    for key in ("a:1", "a:2", "b:1"):
        put(l1, key)
    l1.advance(Position("i", 6), [Record(6, ban("a:*"))], 1.0)
    assert [l1.find(key, 1.0) is not None for key in ("a:1", "a:2", "b:1")] == [
        False,
        False,
        True,
    ]
    assert len(l1.entries) == 1, "they are forgotten, not only hidden"


def test_i2_a_fill_from_before_a_ban_is_never_found() -> None:
    l1 = new()
    l1.advance(Position("i", 6), [Record(6, ban("*"))], 1.0)
    put(l1, born=HERE)
    assert l1.find("k", 1.0) is None
    put(l1, born=Position("i", 6))
    assert l1.find("k", 1.0) is not None


def test_i1_without_any_ban_there_is_nothing_to_know() -> None:
    assert new(None).bans(HERE, 0) == new().bans(HERE, 0) == ()


def test_i1_a_view_that_may_lack_a_ban_never_answers() -> None:
    assert new(None).bans(HERE, 3) is None, "it has read nothing"
    l1 = new()
    assert l1.bans(HERE, 3) is None, "it began to read behind it"
    six = Position("i", 6)
    l1.advance(six, [Record(6, ban("a*"))], 1.0)
    assert l1.bans(six, 6) is None, "it knows the newest, and not all of them"
    l1.add_bans([Ban("a*", 6), Ban("b*", 3)], six)
    assert l1.bans(six, 6) == (Ban("a*", 6), Ban("b*", 3))
    assert l1.bans(Position("i", 7), 7) is None, "it hasn't read so far"
    assert l1.bans(Position("j", 6), 6) is None, "it is of another log"
    assert l1.bans(Position("i", 9), 6) == (Ban("a*", 6), Ban("b*", 3)), "none came since"


@pytest.mark.parametrize(
    ("position", "records"),
    [
        (Position("i", 9), None),
        (Position("j", 5), None),
        (Position("i", 4), []),
        (None, None),
    ],
)
def test_i5_after_a_gap_it_doesnt_know_the_bans_any_more(
    position: Position | None, records: list[Record] | None
) -> None:
    l1 = new()
    l1.add_bans([Ban("b*", 3)], HERE)
    assert l1.bans(HERE, 3) is not None
    l1.advance(position, records, 1.0)
    assert l1.bans(position or HERE, 3) is None
    assert l1.banned_at("bx") == 0


def test_i2_says_the_newest_ban_on_a_key_for_claims() -> None:
    l1 = new()
    assert l1.banned_at("ab") == new(None).banned_at("ab") == 0
    l1.advance(Position("i", 6), [Record(6, ban("a*"))], 1.0)
    l1.advance(Position("i", 8), [Record(7, ban("*b")), Record(8, ban("c*"))], 1.0)
    assert [l1.banned_at(key) for key in ("ab", "ax", "cb", "x")] == [7, 6, 8, 0]


def test_too_many_bans_start_it_over() -> None:
    l1 = new(max_bans=2)
    put(l1)
    l1.advance(Position("i", 7), [Record(6, ban("a*")), Record(7, ban("b*"))], 1.0)
    l1.advance(Position("i", 8), [Record(8, ban("a*"))], 1.0)
    assert l1.find("k", 1.0) is not None, "the same again takes its place"
    l1.advance(Position("i", 9), [Record(9, ban("c*"))], 1.0)
    assert len(l1.entries) == 0
    put(l1, born=Position("i", 8))
    assert l1.find("k", 1.0) is None
    assert l1.bans(Position("i", 9), 9) is None
