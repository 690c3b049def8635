"""I1 and I2 under fire: no stale read among processes that race."""

import pytest

from tests.chaos.run import Outcome, run
from tests.chaos.scenarios import Scenario
from tests.chaos.world import Setting
from tests.support.servers import ServerKind


def race(kind: ServerKind, staleness: float, trusted: float | None = None) -> Outcome:
    """`staleness` is the Δ that is promised, `trusted` the one that processes take, if not that."""
    return run(Scenario(), Setting(seed=1, kind=kind, staleness=staleness, trusted=trusted))


@pytest.mark.parametrize("staleness", [0.0, 0.25])
def test_i1_i2_no_read_is_stale(redis_kind: ServerKind, staleness: float) -> None:
    outcome = race(redis_kind, staleness)
    assert outcome.good, outcome
    assert len(outcome.history.reads) > 100
    assert len(outcome.history.invalidations) > 20


def test_the_race_finds_stale_reads_where_there_are(redis_kind: ServerKind) -> None:
    """The same with memories that are trusted for longer than the checker allows."""
    outcome = race(redis_kind, 0.05, trusted=5.0)
    assert outcome.violations
    assert not outcome.failures
    assert f"{len(outcome.violations)} violations" in str(outcome)
