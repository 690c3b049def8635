"""What differs between runs with cached and with plain tasks, and which of that is explained."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

#: The only reasons there may be for a difference.
KINDS = ("side effect", "time", "no message was sent")

#: Later ones win where a test says several things: of its call and of its teardown.
_RANK = ("passed", "xfailed", "skipped", "failed")

EXPLAINED = Path(__file__).parent / "explained.txt"


@dataclass(frozen=True)
class Explanation:
    """A line of ``explained.txt``: ``kind | pattern of runs | pattern of tests | why``."""

    kind: str
    run: str
    test: str
    why: str

    def covers(self, run: str, test: str) -> bool:
        return fnmatchcase(run, self.run) and fnmatchcase(test, self.test)


def explanations(path: Path = EXPLAINED) -> Iterator[Explanation]:
    """Read the file.

    Raises:
        ValueError: A line that isn't of this form, or whose kind isn't allowed.
    """
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [each.strip() for each in line.split("|")]
        if len(fields) != 4 or not all(fields) or fields[0] not in KINDS:
            raise ValueError(f"{path.name}:{number}: kind | run | test | why; kinds: {KINDS}")
        yield Explanation(*fields)


def outcomes(log: Path) -> dict[str, tuple[str, str]]:
    """Outcome and first error of each test of a run, by name; of second passes with ``@2``."""
    worst: dict[str, tuple[str, str]] = {}
    for line in log.read_text().splitlines():
        row = json.loads(line)
        outcome = "xfailed" if row["xfail"] and row["outcome"] == "skipped" else row["outcome"]
        error = next((t[2:].strip() for t in row["text"].splitlines() if t.startswith("E ")), "")
        known = worst.get(row["nodeid"], ("passed", ""))
        if row["nodeid"] not in worst or _RANK.index(outcome) > _RANK.index(known[0]):
            worst[row["nodeid"]] = (outcome, error)
    return worst


def differences(plain: Path, cached: Path) -> Iterator[tuple[str, str]]:
    """Tests that only on cached tasks failed, or weren't run; and what they said."""
    base, mine = outcomes(plain), outcomes(cached)
    for test, (outcome, error) in mine.items():
        if outcome == "failed" and base.get(test.removesuffix("@2"), ("",))[0] != "failed":
            yield test, error
    for test in base.keys() - mine.keys():
        yield test, "not run"
