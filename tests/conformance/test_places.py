"""S3, S4: every pool, broker and result backend: what works, works with cached tasks as well."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.app import CACHED
from tests.conformance.cases import CANVASES, FEATURES
from tests.conformance.comparing import tally
from tests.conformance.places import AXES, FEW, Around, Place, at, why_not
from tests.support.rabbitmq import Rabbit
from tests.support.servers import Server

pytestmark = pytest.mark.one_server_kind

#: All but folders of files, where plain tasks hung now and then on a busy machine: those are in
#: `make conformance`, and in the tests of brokers.
PLACES = [place for place in AXES[1:] if place.broker != "filesystem"]

CASES = {name: (CANVASES | FEATURES)[name] for name in FEW}


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_s4_everywhere(
    server_factory: Callable[[], Server],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    place: Place,
) -> None:
    if reason := why_not(place):
        pytest.skip(reason)
    rabbit: Callable[[], Rabbit] = lambda: request.getfixturevalue("rabbit")  # noqa: E731 - one use
    # A server of its own: the witness of an app that is still there, which other modules share,
    # hears of tasks of the same names, and would count them twice.
    with at(place, Around(server_factory(), rabbit, tmp_path)) as harness:
        counts = tally(harness, CACHED, CASES)
    for kind, count in counts.items():
        assert not count.differences, "\n".join([kind, *count.differences])
        assert count.passed + count.refused == len(CASES)
    refused = {count.refused for count in counts.values()}
    assert len(refused) == 1, "each kind is refused what plain tasks are"
    assert (refused == {0}) is (place.backend in ("redis", "database"))
