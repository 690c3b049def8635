"""S4, S5: named workflows come out as with plain tasks, wherever they are answered."""

import pytest

from tests.conformance.app import CACHED
from tests.conformance.cases import CANVASES, FEATURES
from tests.conformance.comparing import compare, run_plain
from tests.conformance.harness import Harness

pytestmark = pytest.mark.one_server_kind

CASES = CANVASES | FEATURES

MAPPINGS = {"map", "starmap", "chunks", "chunks in a chord"}

#: What the site alone can't answer: what comes later isn't looked for at the producer (S5), and
#: many calls in one message are looked for where they run.
UNANSWERED = {
    "producer": {"countdown", "countdown in a chain", *MAPPINGS},
    "consumer": MAPPINGS,
}


@pytest.mark.parametrize("kind", CACHED)
@pytest.mark.parametrize("name", CASES)
def test_s4_as_if_it_had_run(prefork: Harness, name: str, kind: str) -> None:
    case = CASES[name]
    ran = compare(prefork, kind, case, run_plain(prefork, case))
    assert bool(ran) is (name in UNANSWERED.get(kind, ())), f"ran when warm: {ran}"
