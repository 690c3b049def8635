"""I1 and I2 under fire: no stale read among processes that race."""

from typing import Any

import pytest

from tests.chaos.run import Outcome, run
from tests.chaos.scenarios import LoseTail, Scenario
from tests.chaos.world import Setting
from tests.support.servers import ServerKind


def race(
    kind: ServerKind,
    staleness: float,
    *,
    seed: int = 1,
    scenario: type[Scenario] = Scenario,
    **options: Any,
) -> Outcome:
    """Processes that read, compute and invalidate; see `Setting`."""
    return run(scenario(), Setting(seed=seed, kind=kind, staleness=staleness, **options))


def race_until_stale(kind: ServerKind, **options: Any) -> Outcome:
    """Races until one finds stale reads: on a busy machine, many may not come to it."""
    for seed in range(1, 26):
        outcome = race(kind, 0.05, seed=seed, **options)
        if outcome.violations or outcome.failures:
            break
    return outcome


@pytest.mark.parametrize("staleness", [0.0, 0.25])
def test_i1_i2_no_read_is_stale(redis_kind: ServerKind, staleness: float) -> None:
    # A process that a busy machine keeps waiting would run for itself, rightly.
    outcome = race(redis_kind, staleness, timeout=5.0)
    assert outcome.good, outcome
    assert len(outcome.history.reads) > 100
    assert len(outcome.history.invalidations) > 20
    assert outcome.surplus_runs == 0, "C1, C4: an invalidation costs one run, whoever reads"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sabotage", "in_loops"), [("fence", False), ("del", False), ("fence", True)]
)
def test_without_the_scheme_the_race_finds_stale_reads(
    redis_kind: ServerKind, sabotage: str, in_loops: bool
) -> None:
    outcome = race_until_stale(redis_kind, sabotage=sabotage, in_loops=in_loops)
    assert outcome.violations
    assert not outcome.failures


@pytest.mark.timeout(600)
def test_with_bare_numbers_a_lost_tail_means_stale_reads(redis_kind: ServerKind) -> None:
    outcome = race_until_stale(redis_kind, scenario=LoseTail, sabotage="counter")
    assert outcome.violations
    assert not outcome.failures


@pytest.mark.timeout(600)
@pytest.mark.parametrize("in_loops", [False, True])
def test_the_race_finds_stale_reads_where_there_are(redis_kind: ServerKind, in_loops: bool) -> None:
    """The same with memories that are trusted for longer than the checker allows."""
    outcome = race_until_stale(redis_kind, trusted=5.0, in_loops=in_loops)
    assert outcome.violations
    assert not outcome.failures
    assert f"{len(outcome.violations)} violations" in str(outcome)
