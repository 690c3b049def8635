"""S4, S5: named workflows come out as with plain tasks, wherever they are answered."""

import pytest

from tests.conformance.app import CACHED
from tests.conformance.cases import CANVASES, FEATURES, Case
from tests.conformance.outcome import Outcome
from tests.conformance.stage import Stage, new_tag

pytestmark = pytest.mark.one_server_kind

CASES = CANVASES | FEATURES

#: Those that run each time: they fail, change their workflow, or get an id or what has no order.
NOT_KEPT = {"fails", "spoil", "in_vain", "ignores", "rejects", "told", "total", "adds_to_chord"}

MAPPINGS = {"map", "starmap", "chunks", "chunks in a chord"}

#: What the site alone can't answer: what comes later isn't looked for at the producer (S5), and
#: many calls in one message are looked for where they run.
UNANSWERED = {
    "producer": {"countdown", "countdown in a chain", *MAPPINGS},
    "consumer": MAPPINGS,
}


def compare(stage: Stage, kind: str, case: Case, plain: Outcome) -> set[str]:
    """Run a workflow cold and warm, and hold it against the plain one.

    Returns:
        The tasks that ran although their results may be kept, when it was warm.
    """
    tag = new_tag()
    for warm in (False, True):
        differs = plain.difference(stage.run(kind, case, tag), tries=not warm)
        assert not differs, f"{kind}, {'warm' if warm else 'cold'}:\n{differs}"
    return {name for name in stage.bodies() if name not in NOT_KEPT and "replaced" not in name}


@pytest.mark.parametrize("kind", CACHED)
@pytest.mark.parametrize("name", CASES)
def test_s4_as_if_it_had_run(prefork: Stage, name: str, kind: str) -> None:
    case = CASES[name]
    ran = compare(prefork, kind, case, prefork.run("plain", case, new_tag()))
    assert bool(ran) is (name in UNANSWERED.get(kind, ())), f"ran when warm: {ran}"
