"""S4: hits at the producer come out as with plain tasks on the short way, too.

The witness listens to signals, which takes all hits the long way: here its receivers may miss hits,
in this process. In the worker they don't, so both ways meet in one workflow. `CONFORMANCE_SHORT=1`
does both for all tests of this folder.
"""

from collections.abc import Iterator

import pytest

from tests.conformance.cases import CANVASES, FEATURES
from tests.conformance.comparing import compare, run_plain
from tests.conformance.harness import Harness, make_harness, settings
from tests.support.servers import Server
from tests.support.workers import Worker
from tta_taskcache.celery.sites import short_way

pytestmark = pytest.mark.one_server_kind

CASES = CANVASES | FEATURES


@pytest.fixture(scope="module")
def unheard(server: Server, _worker: Worker) -> Iterator[Harness]:
    with make_harness(settings(server, short=True)) as made:
        yield made


@pytest.mark.parametrize("name", CASES)
def test_s4_as_if_it_had_run_on_the_short_way(unheard: Harness, name: str) -> None:
    case = CASES[name]
    compare(unheard, "producer", case, run_plain(unheard, case))


def test_hits_take_the_short_way(unheard: Harness) -> None:
    assert unheard.app.witness._answered == short_way.answer
    tasks = unheard.app.tasks["producer.add"]
    tasks.apply_async((1,), {"run": "run-short"}).get(timeout=20)
    with unheard.witness.run():
        assert tasks.delay(1, run="run-short").cache_status.hit
    assert [node.delivered for node in unheard.witness.nodes()] == [False]
