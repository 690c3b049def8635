"""L1: it trusts itself for Δ, and forgets whatever it can't vouch for (I1, I2, I5)."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.stores.entries import DELTA, HERE, ban, new, put
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.marks import Ban
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.protocol import Record
from tta_taskcache.testing import make_entry


def test_i1_lag_is_what_it_may_have_answered_for() -> None:
    l1 = new(at=10.0)
    assert l1.lag(10.1) == pytest.approx(0.1)
    assert l1.lag(99.0) == DELTA, "for longer it didn't trust itself"
    l1.require_poll()
    assert l1.lag(10.1) == 0, "it has made the invalidation itself"
    assert new(None).lag(10.0) == 0


def test_i1_strict_is_good_for_one_moment() -> None:
    l1 = L1Cache(10, 10_000, 0.0)
    l1.advance(HERE, None, 1.0)
    assert l1.is_trusted(1.0)
    assert not l1.is_trusted(math.nextafter(1.0, 2.0))


@pytest.mark.parametrize("mark", marks.of_call("t", "k"))
def test_i1_a_mark_read_ends_an_entry(mark: str) -> None:
    l1 = new()
    put(l1)
    assert l1.find("k", 1.0) is not None
    l1.advance(Position("i", 6), [Record(6, ("other", mark))], 1.0)
    assert l1.find("k", 1.0) is None
    assert len(l1.entries) == 0, "it is forgotten, not only hidden"


def test_i1_marks_of_others_end_nothing() -> None:
    l1 = new()
    put(l1)
    l1.advance(Position("i", 6), [Record(6, ("t:other", "k:other"))], 1.0)
    assert l1.find("k", 1.0) is not None


def test_i2_a_fill_from_before_an_invalidation_is_never_found() -> None:
    l1 = new()
    l1.advance(Position("i", 6), [Record(6, ("t:t",))], 1.0)
    put(l1, born=HERE)
    assert l1.find("k", 1.0) is None
    put(l1, born=Position("i", 6))
    assert l1.find("k", 1.0) is not None


def test_i1_a_reply_that_overlaps_joins() -> None:
    l1 = new()
    put(l1)
    records = [Record(4, ("x",)), Record(5, ("x",)), Record(6, ("x",))]
    l1.advance(Position("i", 6), records, 1.0, Position("i", 3))
    assert l1.find("k", 1.0) is not None


def test_r5_never_found_at_its_deadline_or_later() -> None:
    l1 = new()
    put(l1, deadline=10.0)
    assert l1.find("k", math.nextafter(10.0, 0.0)) is not None
    assert l1.find("k", 10.0) is None
    assert len(l1.entries) == 0


def test_bounds_by_entries_and_bytes() -> None:
    l1 = new(max_entries=3)
    for i in range(10):
        put(l1, f"k{i}")
    assert [l1.find(f"k{i}", 0.0) is not None for i in range(10)] == [False] * 7 + [True] * 3
    one = make_entry("k0", HERE).size
    l1 = new(max_bytes=2 * one + 1)
    for i in range(5):
        put(l1, f"k{i}")
    assert len(l1.entries) == 2
    assert l1.entries.size <= 2 * one + 1


@pytest.mark.parametrize("bounds", [{"max_entries": 0}, {"max_bytes": 0}])
def test_zero_turns_it_off(bounds: dict[str, int]) -> None:
    l1 = new(**bounds)
    put(l1)
    assert l1.find("k", 0.0) is None
    assert len(l1.entries) == 0


def test_too_many_marks_start_it_over() -> None:
    l1 = new(max_marks=3)
    put(l1)
    l1.advance(Position("i", 6), [Record(6, ("a", "b", "c"))], 1.0)
    assert l1.find("k", 1.0) is not None
    l1.advance(Position("i", 7), [Record(7, ("a", "d"))], 1.0)
    assert len(l1.entries) == 0
    assert l1.position == Position("i", 7)
    put(l1, born=Position("i", 6))
    assert l1.find("k", 1.0) is None, "its marks are forgotten, too"


def test_i1_what_was_read_before_isnt_learnt() -> None:
    """Another thread has read on meanwhile, perhaps past a ban that these lack."""
    l1 = new()
    l1.advance(Position("i", 6), [Record(6, ban("a*"))], 1.0)
    for stale in (HERE, Position("j", 6), Position("j", 9)):
        l1.add_bans([], stale)
        assert l1.bans(Position("i", 6), 6) is None
    new(None).add_bans([], HERE)


KEYS = st.sampled_from(["a", "b", "c"])


TASKS = st.sampled_from(["t", "u"])


MARKS = st.sampled_from(["*", "t:t", "t:u", "k:a", "k:b", "k:c", "b:*", "b:[ab]", "b:c"])


MATCHES = {"b:*": "abc", "b:[ab]": "ab", "b:c": "c"}


class Log:
    """The model: all that ever happened, in one incarnation."""

    def __init__(self, incarnation: int) -> None:
        self.incarnation = f"i{incarnation}"
        self.records: list[Record] = []

    @property
    def position(self) -> Position:
        return Position(self.incarnation, len(self.records))

    def ends(self, born: Position, key: str, names: tuple[str, ...]) -> bool:
        later = {name for record in self.records[born.sequence :] for name in record.marks}
        return (
            born.incarnation != self.incarnation
            or bool(later & set(names))
            or any(key in MATCHES.get(name, "") for name in later)
        )

    def bans(self) -> list[Ban]:
        """What the store answers: the newest of each pattern, newest first."""
        newest = {name: r.sequence for r in self.records for name in r.marks if name in MATCHES}
        found = [Ban(name.removeprefix("b:"), sequence) for name, sequence in newest.items()]
        return sorted(found, key=lambda ban: -ban.sequence)


class NearMachine(RuleBasedStateMachine):
    """L1 against the whole truth: it may know less, but it never answers what it must not."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = L1Cache(2, 10_000, DELTA)
        self.now = 0.0
        self.log = Log(0)
        self.incarnations = 1
        self.polled: tuple[float, Position] | None = None
        self.asked: list[tuple[float, Position | None, Position, list[Record]]] = []
        self.reading_bans: list[tuple[Position, list[Ban]]] = []
        self.deadlines: dict[str, float] = {}

    @rule(seconds=st.sampled_from([0.01, 0.1, DELTA, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(names=st.lists(MARKS, min_size=1, max_size=2, unique=True))
    def somebody_invalidates(self, names: list[str]) -> None:
        self.log.records.append(Record(len(self.log.records) + 1, tuple(names)))

    @rule(own=st.sampled_from(["a", "b", "c"]))
    def this_process_invalidates(self, own: str) -> None:
        self.somebody_invalidates([f"k:{own}"])
        self.l1.require_poll()
        self.polled = None

    @rule()
    def the_log_is_lost(self) -> None:
        self.log = Log(self.incarnations)
        self.incarnations += 1

    @rule()
    def ask(self) -> None:
        """A poll is sent: its reply may come later, after those of others."""
        since = self.l1.position
        self.asked.append((self.now, since, self.log.position, list(self.log.records)))

    @precondition(lambda self: self.asked)
    @rule(gap=st.booleans(), data=st.data())
    def reply(self, gap: bool, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.asked) - 1))
        at, since, position, known = self.asked.pop(which)
        joins = since is not None and since.incarnation == position.incarnation
        whole = joins and not gap and since is not None and since.sequence <= position.sequence
        records = known[since.sequence :] if whole and since is not None else None
        self.l1.advance(position, records, at, since)
        self.polled = (at, position)

    @rule()
    def read_bans(self) -> None:
        """The bans are read: that may be learnt later, too."""
        self.reading_bans.append((self.log.position, self.log.bans()))

    @precondition(lambda self: self.reading_bans)
    @rule(data=st.data())
    def learn_bans(self, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.reading_bans) - 1))
        position, bans = self.reading_bans.pop(which)
        self.l1.add_bans(bans, position)

    @rule(key=KEYS)
    def judge(self, key: str) -> None:
        """An entry from Redis is judged by the bans known here, or they are read anew."""
        truth = self.log.bans()
        newest = truth[0].sequence if truth else 0
        known = self.l1.bans(self.log.position, newest)
        if known is not None:
            assert marks.banned_at(key, known) == marks.banned_at(key, truth), "I1"
        assert self.l1.banned_at(key) <= marks.banned_at(key, truth) or (
            self.l1.position is not None and self.l1.position.incarnation != self.log.incarnation
        ), "a claim takes no lease that is good"

    @rule(key=KEYS, task=TASKS, age=st.integers(0, 3), lifetime=st.sampled_from([0.1, 5.0]))
    def fill(self, key: str, task: str, age: int, lifetime: float) -> None:
        """The result of a computation that began some invalidations ago."""
        born = Position(self.log.incarnation, max(0, self.log.position.sequence - age))
        self.l1.put(make_entry(key, born, task=task), self.now + lifetime, born.sequence)

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        held = self.l1.find(key, self.now)
        if held is None:
            return
        assert held.entry.key == key
        assert held.deadline > self.now, "R5"
        if self.l1.is_trusted(self.now):
            assert self.polled is not None
            at, _ = self.polled
            assert self.now - at <= DELTA, "I1"
        assert self.polled is not None or not self.l1.is_trusted(self.now)
        # Whatever the log held when the view's poll was sent is obeyed.
        seen = self.l1.position
        assert seen is not None
        if seen.incarnation == self.log.incarnation:
            log = Log(0)
            log.incarnation = seen.incarnation
            log.records = self.log.records[: seen.sequence]
            assert not log.ends(held.entry.born, key, held.entry.marks), "I1, I2"

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.l1.entries) <= 2
        assert self.l1.entries.size <= 10_000


TestNearMachine = NearMachine.TestCase


TestNearMachine.settings = settings(max_examples=200, stateful_step_count=40)
