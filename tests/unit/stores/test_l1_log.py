"""L1's copy of the log."""

import pytest

from tests.unit.stores.entries import DELTA, HERE, ban, new, put
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.marks import Ban
from tta_taskcache.stores.protocol import Record


def test_i1_trusts_itself_for_delta_after_the_poll_was_sent() -> None:
    l1 = new(at=10.0)
    assert l1.is_trusted(10.0)
    assert l1.is_trusted(10.0 + DELTA)
    assert not l1.is_trusted(10.0 + DELTA + 0.001)
    l1.advance(HERE, [], 11.0)
    assert l1.is_trusted(11.0 + DELTA)


def test_i1_never_trusts_itself_before_the_first_poll() -> None:
    l1 = new(None)
    put(l1)
    assert l1.position is None
    assert not l1.is_trusted(0.0)
    assert l1.find("k", 0.0) is None


def test_i1_distrusts_after_its_own_invalidation_until_the_next_poll() -> None:
    l1 = new()
    l1.require_poll()
    assert not l1.is_trusted(0.0)
    l1.advance(HERE, [], 0.1)
    assert l1.is_trusted(0.1)
    new(None).require_poll()


def test_i5_a_gap_forgets_everything_and_what_was_not_checked_since() -> None:
    l1 = new()
    put(l1)
    l1.advance(Position("i", 9), None, 1.0)
    assert len(l1.entries) == 0
    put(l1, born=HERE)
    assert l1.find("k", 1.0) is None, "whether 6 to 9 ended it isn't known"
    put(l1, born=Position("i", 9))
    assert l1.find("k", 1.0) is not None


@pytest.mark.parametrize("position", [Position("j", 5), Position("j", 6), Position("i", 4)])
@pytest.mark.parametrize("records", [[], None])
def test_i5_another_incarnation_or_a_sequence_that_went_back_forgets_everything(
    position: Position, records: list[Record] | None
) -> None:
    l1 = new()
    put(l1)
    l1.advance(position, records, 1.0)
    assert (l1.position, len(l1.entries)) == (position, 0)


def test_i5_a_lost_log_forgets_everything() -> None:
    l1 = new()
    put(l1)
    l1.advance(None, None, 1.0)
    assert l1.position is None
    assert not l1.is_trusted(1.0)
    assert len(l1.entries) == 0


@pytest.mark.parametrize(
    ("since", "position", "records"),
    [
        (Position("i", 7), Position("i", 8), [Record(8, ("x",))]),
        (Position("i", 6), Position("i", 8), [Record(7, ("x",)), Record(8, ("x",))]),
        (Position("i", 6), Position("i", 6), []),
        (Position("j", 4), Position("i", 6), [Record(6, ("x",))]),
    ],
)
def test_i1_a_reply_that_does_not_join_is_a_gap(
    since: Position, position: Position, records: list[Record]
) -> None:
    """Threads poll at once: a reply may continue a position that another's reply took back."""
    l1 = new()
    l1.advance(position, records, 1.0, since)
    put(l1, born=HERE)
    assert l1.find("k", 1.0) is None, "a record between 5 and the reply was never read"


def test_i1_records_that_come_after_what_they_led_to_take_nothing_back() -> None:
    l1 = new()
    l1.add_bans([Ban("a*", 7), Ban("b*", 6)], Position("i", 7))
    eight = Position("i", 8)
    l1.advance(eight, [Record(6, ban("a*", "b*")), Record(7, ban("a*")), Record(8, ())], 1.0)
    assert l1.bans(eight, 7) == (Ban("a*", 7), Ban("b*", 6))
    l1.advance(Position("i", 9), [Record(9, ban("b*"))], 1.0)
    assert l1.bans(Position("i", 9), 9) == (Ban("b*", 9), Ban("a*", 7))
