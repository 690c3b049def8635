"""One comparison: a workflow of cached tasks, cold and warm, against the plain one."""

from dataclasses import dataclass, field

from tests.conformance.cases import Case
from tests.conformance.harness import Harness, new_tag
from tests.conformance.outcome import Outcome

#: Those that run each time: they fail, change their workflow, or get an id or what has no order.
NOT_KEPT = {"fails", "spoil", "in_vain", "ignores", "rejects", "told", "total", "adds_to_chord"}


@dataclass
class HotCallTally:
    """Counts of comparisons.

    Attributes:
        passed: Where nothing differed.
        refused: Where Celery refuses the workflow, of cached tasks as of plain ones.
        differences: What differed.
    """

    passed: int = 0
    refused: int = 0
    differences: list[str] = field(default_factory=list)


def run_plain(harness: Harness, case: Case) -> Outcome | Exception:
    """The plain workflow; or why Celery refuses it."""
    return _run(harness, "plain", case, new_tag())


def compare(harness: Harness, kind: str, case: Case, plain: Outcome | Exception) -> set[str]:
    """Run a workflow cold and warm, and hold it against the plain one.

    Returns:
        The tasks that ran although their results may be kept, when it was warm.
    """
    tag = new_tag()
    for warm in (False, True):
        differs = difference(plain, _run(harness, kind, case, tag), tries=not warm)
        assert not differs, f"{kind}, {'warm' if warm else 'cold'}:\n{differs}"
    return {name for name in harness.bodies() if name not in NOT_KEPT and "replaced" not in name}


def difference(plain: Outcome | Exception, cached: Outcome | Exception, *, tries: bool) -> str:
    """How they differ; empty when they don't."""
    if isinstance(plain, Outcome) and isinstance(cached, Outcome):
        return plain.difference(cached, tries=tries)
    return "" if type(plain) is type(cached) else f"  - {plain!r}\n  + {cached!r}"


def _run(harness: Harness, kind: str, case: Case, tag: str) -> Outcome | Exception:
    try:
        return harness.run(kind, case, tag)
    except (AssertionError, TimeoutError):
        raise  # ours
    except Exception as refusal:  # noqa: BLE001 - what Celery refuses is compared, too
        return refusal


def tally(
    harness: Harness, kinds: tuple[str, ...], cases: dict[str, Case]
) -> dict[str, HotCallTally]:
    """Compare workflows of each kind of task."""
    counts = {kind: HotCallTally() for kind in kinds}
    for name, case in cases.items():
        try:
            plain = run_plain(harness, case)
        except TimeoutError as error:
            for kind in kinds:
                counts[kind].differences.append(f"{name}, already of plain tasks: {error}")
            continue
        for kind in kinds:
            try:
                compare(harness, kind, case, plain)
            except (AssertionError, TimeoutError) as error:
                counts[kind].differences.append(f"{name}: {error}")
            else:
                refused = isinstance(plain, Exception)
                counts[kind].refused += refused
                counts[kind].passed += not refused
    return counts
