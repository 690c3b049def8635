"""The checker of histories: it finds what breaks I1 and I2, and nothing else."""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.testing.histories import history
from tta_taskcache.testing import (
    History,
    Invalidation,
    Read,
    Run,
    Violation,
    check,
    surplus_runs,
)
from tta_taskcache.testing.history import unexplained_reads

DELTA = 0.25


def promises(*records: Read | Run | Invalidation) -> list[str]:
    return [violation.promise for violation in check(history(*records), DELTA)]


class TestByVersion:
    """What can be told without runs (I1)."""

    ENDED = Invalidation("a", 9.0, 10.0, 5)

    @pytest.mark.parametrize(("version", "expected"), [(4, ["I1"]), (5, []), (6, [])])
    def test_i1_only_older_versions_are_stale(self, version: int, expected: list[str]) -> None:
        assert promises(self.ENDED, Read("a", 11.0, 11.1, version)) == expected

    @pytest.mark.parametrize(
        ("begin", "expected"), [(9.5, []), (10.0, []), (10.25, []), (10.26, ["I1"])]
    )
    def test_i1_from_delta_after_the_acknowledgement_on(
        self, begin: float, expected: list[str]
    ) -> None:
        # However long they take.
        assert promises(self.ENDED, Read("a", begin, 99.0, 4)) == expected

    def test_i1_strict_allows_nothing_after_the_acknowledgement(self) -> None:
        begin = math.nextafter(10.0, 11.0)
        assert check(history(self.ENDED, Read("a", begin, 11.0, 4)), staleness=0)
        assert not check(history(self.ENDED, Read("a", 10.0, 11.0, 4)), staleness=0)

    def test_things_are_apart(self) -> None:
        assert promises(self.ENDED, Read("b", 11.0, 11.1, 4)) == []

    @pytest.mark.parametrize("end", [None, math.inf])
    def test_i4_what_raised_forbids_nothing(self, end: float | None) -> None:
        assert promises(Invalidation("a", 9.0, end, 5), Read("a", 99.0, 99.1, 4)) == []

    def test_i1_one_that_began_late_and_was_acknowledged_early_counts(self) -> None:
        slow, quick = Invalidation("a", 1.0, 20.0, 5), Invalidation("a", 8.0, 9.0, 7)
        (violation,) = check(history(slow, quick, Read("a", 10.0, 10.1, 6)), DELTA)
        assert violation.invalidation == quick

    def test_names_the_first_invalidation_that_was_broken(self) -> None:
        ended = [Invalidation("a", at, at + 0.5, at) for at in range(1, 9)]
        (violation,) = check(history(*ended, Read("a", 20.0, 20.1, 3)), DELTA)
        assert violation.invalidation == ended[3]

    def test_in_the_order_of_their_beginning(self) -> None:
        reads = [Read("a", at, at, 4) for at in (13.0, 11.0, 12.0)]
        found = check(history(self.ENDED, *reads), DELTA)
        assert [violation.read.begin for violation in found] == [11.0, 12.0, 13.0]

    def test_delta_is_not_negative(self) -> None:
        with pytest.raises(ValueError, match="staleness=-1"):
            check(History(), staleness=-1)


class TestByRun:
    """What only the runs tell: versions are new enough (I1, I2)."""

    ENDED = Invalidation("a", 9.0, 10.0, 5)
    LATE = Read("a", 11.0, 11.1, 6)

    def test_i2_a_run_that_filled_over_an_invalidation(self) -> None:
        assert promises(self.ENDED, Run("a", 8.9, 9.1, 6), self.LATE) == ["I2"]

    def test_i2_a_run_that_was_joined_after_an_invalidation(self) -> None:
        assert promises(self.ENDED, Run("a", 8.9, 11.05, 6), self.LATE) == ["I2"]

    def test_i1_a_run_that_was_over_before_the_invalidation(self) -> None:
        assert promises(self.ENDED, Run("a", 8.0, 8.9, 6), self.LATE) == ["I1"]

    def test_i1_a_source_that_was_late_itself(self) -> None:
        stale = Read("a", 11.0, 11.1, 4)
        (violation,) = check(history(self.ENDED, Run("a", 10.5, 10.6, 4), stale), DELTA)
        assert violation.promise == "I1"
        assert "saw what is older" in str(violation)

    @pytest.mark.parametrize("begin", [9.0, 9.5, 10.5])
    def test_i2_runs_from_then_on_are_good(self, begin: float) -> None:
        assert promises(self.ENDED, Run("a", begin, 10.9, 6), self.LATE) == []

    def test_i2_within_delta_it_is_allowed(self) -> None:
        assert promises(self.ENDED, Run("a", 8.9, 9.1, 6), Read("a", 10.2, 11.1, 6)) == []

    def test_of_equal_versions_the_last_run_may_have_been_it(self) -> None:
        old, new = Run("a", 8.0, 8.9, 6), Run("a", 9.5, 9.6, 6)
        assert promises(self.ENDED, old, new, self.LATE) == []
        assert promises(self.ENDED, new, old, self.LATE) == []

    def test_runs_of_other_things_say_nothing(self) -> None:
        assert promises(self.ENDED, Run("b", 8.9, 9.1, 6), self.LATE) == []


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], "version 4, which is older"),
        ([Run("a", 8.5, 9.5, 4)], "whose run began 0.500000 s before it and was still going on"),
        ([Run("a", 8.0, 8.5, 4)], "whose run began 1.000000 s before it and was over"),
    ],
)
def test_a_violation_is_a_sentence(runs: list[Run], expected: str) -> None:
    records = [Invalidation(("a", 1), 9.0, 10.0, 5), Read(("a", 1), 11.0, 11.1, 4)]
    moved = [run._replace(thing=("a", 1)) for run in runs]
    (violation,) = check(history(*records, *moved), DELTA)
    assert expected in str(violation)
    assert "a read of ('a', 1) began 1.000000 s after an invalidation" in str(violation)


class TestSurplus:
    def test_each_thing_once(self) -> None:
        assert surplus_runs(history(Run("a", 1, 2, 1), Run("b", 1, 2, 1))) == 0

    def test_once_more_for_each_invalidation_sure_or_not(self) -> None:
        ended = [Invalidation("a", 3, 4, 1), Invalidation("a", 5, None, 2)]
        runs = [Run("a", at, at, at) for at in range(4)]
        assert surplus_runs(history(*ended, *runs[:3])) == 0
        assert surplus_runs(history(*ended, *runs)) == 1

    def test_what_others_saved_counts_for_nothing(self) -> None:
        runs = [Run("a", 1, 2, 1), Run("a", 3, 4, 2), Run("a", 5, 6, 3)]
        assert surplus_runs(history(Invalidation("b", 3, 4, 1), *runs)) == 2


def test_r1_reads_that_no_run_explains() -> None:
    known, unknown = Read("a", 1, 2, 1), [Read("a", 1, 2, 2), Read("b", 1, 2, 1)]
    made = history(Run("a", 0, 1, 1), known, *unknown)
    assert unexplained_reads(made) == unknown


# Against an oracle

MOMENTS = st.integers(0, 20).map(lambda n: n / 4)


THINGS = st.sampled_from("ab")


VERSIONS = st.integers(0, 5)


def spans(kind: Callable[..., object]) -> st.SearchStrategy[object]:
    def make(thing: str, times: list[float], version: int) -> object:
        return kind(thing, *sorted(times), version)

    return st.builds(make, THINGS, st.lists(MOMENTS, min_size=2, max_size=2), VERSIONS)


INVALIDATIONS = spans(Invalidation) | spans(Invalidation).map(lambda i: i._replace(end=None))


def forbids(ended: Invalidation, read: Read, runs: list[Run], staleness: float) -> bool:
    if ended.thing != read.thing or ended.end is None or read.begin <= ended.end + staleness:
        return False
    mine = [run.begin for run in runs if (run.thing, run.version) == (read.thing, read.version)]
    return read.version < ended.version or (bool(mine) and max(mine) < ended.begin)


def oracle(made: History, staleness: float) -> Counter[Read]:
    return Counter(
        read
        for read in made.reads
        if any(forbids(ended, read, made.runs, staleness) for ended in made.invalidations)
    )


@given(
    st.lists(spans(Read)),
    st.lists(INVALIDATIONS, max_size=12),
    st.lists(spans(Run), max_size=12),
    MOMENTS,
)
def test_finds_what_a_naive_check_finds(
    reads: list[Read], ended: list[Invalidation], runs: list[Run], staleness: float
) -> None:
    made = History(reads, runs, ended)
    found = check(made, staleness)
    assert Counter(violation.read for violation in found) == oracle(made, staleness)
    for violation in found:
        assert_is_explained(violation, made, staleness)


def assert_is_explained(violation: Violation, made: History, staleness: float) -> None:
    guilty = [
        item for item in made.invalidations if forbids(item, violation.read, made.runs, staleness)
    ]
    assert violation.invalidation in guilty
    assert violation.invalidation.end == min(item.end for item in guilty)
    run = violation.run
    overlaps = run is not None and run.begin < violation.invalidation.begin < run.end
    assert violation.promise == ("I2" if overlaps else "I1")
    assert str(violation).startswith(violation.promise)


# With a cache that keeps its promises


@dataclass
class GoodCache:
    """What processes see of a cache that keeps its promises, with memories that lag behind by Δ."""

    dice: random.Random
    now: float = 0.0
    counter: int = 0
    stored: dict[str, int] = field(default_factory=dict)
    ended: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    made: History = field(default_factory=History)

    def pass_time(self) -> float:
        self.now += self.dice.uniform(0.001, 0.2)
        return self.now

    def count_up(self) -> int:
        self.counter += 1
        return self.counter

    def invalidate(self, thing: str) -> None:
        version, begin = self.count_up(), self.pass_time()
        at = self.pass_time()
        if thing in self.stored:
            self.ended.setdefault(thing, []).append((at, self.stored.pop(thing)))
        end = self.pass_time() if self.dice.random() < 0.8 else None
        self.made.add(Invalidation(thing, begin, end, version))

    def read(self, thing: str) -> None:
        begin = self.pass_time()
        recent = [version for at, version in self.ended.get(thing, ()) if begin - at <= DELTA]
        if recent and self.dice.random() < 0.5:
            version = self.dice.choice(recent)
        elif thing in self.stored:
            version = self.stored[thing]
        else:
            started, version = self.pass_time(), self.count_up()
            self.made.add(Run(thing, started, self.pass_time(), version))
            self.stored[thing] = version
        self.made.add(Read(thing, begin, self.pass_time(), version))

    def work(self, steps: int) -> History:
        for _ in range(steps):
            act = self.read if self.dice.random() < 0.7 else self.invalidate
            act(self.dice.choice("ab"))
        return self.made


@given(st.integers(0, 2**32), st.data())
def test_a_good_history_is_good_until_a_violation_is_planted(
    seed: int, data: st.DataObject
) -> None:
    made = GoodCache(random.Random(seed)).work(60)
    assert check(made, DELTA) == []
    assert surplus_runs(made) == 0
    assert unexplained_reads(made) == []
    acknowledged = [item for item in made.invalidations if item.end is not None]
    if not acknowledged:
        return
    ended = data.draw(st.sampled_from(acknowledged))
    begin = ended.end + DELTA + data.draw(st.floats(0.001, 100))
    planted = Read(ended.thing, begin, begin + 0.01, ended.version - data.draw(st.integers(1, 9)))
    made.reads.insert(data.draw(st.integers(0, len(made.reads))), planted)
    assert [violation.read for violation in check(made, DELTA)] == [planted]
