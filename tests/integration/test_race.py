"""I1 and I2 under fire: no stale read among processes that race."""

import pytest

from tests.integration.race import race_on
from tests.support.servers import Server


@pytest.mark.parametrize("staleness", [0.0, 0.05])
def test_i1_i2_no_read_is_stale(redis_server: Server, staleness: float) -> None:
    history = race_on(redis_server, staleness)
    assert len(history.reads) > 100
    assert len(history.invalidations) > 20
    assert history.stale(staleness) == 0


def test_the_race_finds_stale_reads_where_there_are(redis_server: Server) -> None:
    """The same with memories that are trusted for longer than the checker allows."""
    assert race_on(redis_server, 5.0).stale(0.05) > 0
