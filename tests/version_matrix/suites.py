"""The suites that are run on each set of versions, by the names of their modules."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.workers import ROOT

TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Suite:
    """Some test modules.

    Attributes:
        name: Its name in the table.
        modules: Names of the modules without `test_`; a folder's name and a slash for all in it.
        part: What of it a continuous integration has time for: pytest's `-k`; None for nothing.
    """

    name: str
    modules: tuple[str, ...]
    part: str | None = None

    @property
    def paths(self) -> list[Path]:
        found: list[Path] = []
        for module in self.modules:
            folder = [TESTS / module] if module.endswith("/") else []
            found += folder or sorted(TESTS.rglob(f"test_{module}.py"))
        if not found:
            raise LookupError(f"{self.name}: no test module has one of the names {self.modules}")
        return found


#: The most telling ones first. An empty `part` is all of it.
SUITES = (
    Suite("workflows after hits", ("steps_after_hits",), part=""),
    Suite("conformance", ("cases", "features"), part="producer"),
    Suite("groups", ("groups",), part="get or chord"),
    Suite("sites", ("sites",)),
    Suite(
        "connections",
        ("connection", "redis_connection", "tls", "deadlines"),
        part="pipelines or demoted or tls or names",
    ),
    Suite("failover", ("failover", "isolated_master")),
    Suite("followers", ("followers",)),
    Suite("coalescing", ("coalescing", "waiting")),
    Suite("warming", ("warming",), part="dies"),
    Suite("stale", ("stale",)),
    Suite("faults", ("faults",)),
    Suite("stores", ("stores", "redis_leases")),
    Suite("races", ("race",)),
    Suite("units", ("unit/",)),
)
