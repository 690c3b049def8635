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
        chosen: Which of their tests: pytest's `-k`; empty for all.
    """

    name: str
    modules: tuple[str, ...]
    chosen: str = ""

    @property
    def paths(self) -> list[Path]:
        found: list[Path] = []
        for module in self.modules:
            folder = [TESTS / module] if module.endswith("/") else []
            found += folder or sorted(TESTS.rglob(f"test_{module}.py"))
        if not found:
            raise LookupError(f"{self.name}: no test module has one of the names {self.modules}")
        return found


#: The most telling ones first.
SUITES = (
    Suite("workflows after hits", ("steps_after_hits",)),
    Suite("conformance", ("cases", "features")),
    Suite("groups", ("groups",)),
    Suite("sites", ("sites",)),
    Suite("connections", ("connection", "redis_connection", "tls", "hangups", "deadlines")),
    Suite("failover", ("failover", "isolated_master")),
    Suite("followers", ("followers",)),
    Suite("coalescing", ("coalescing", "waiting")),
    Suite("warming", ("warming",)),
    Suite("stale", ("stale",)),
    Suite("faults", ("faults",)),
    Suite("stores", ("stores", "redis_leases")),
    Suite("asyncio", ("integration/aio/", "async_stores")),
    Suite("races", ("race",)),
    Suite("Django", ("integration/django/",)),
    Suite("traces", ("traces",)),
    Suite("units", ("unit/",)),
)

#: What a continuous integration has time for: one run, as each takes a while to begin.
PART = Suite(
    "part",
    ("steps_after_hits", "cases", "redis_connection", "tls", "hangups", "warming"),
    chosen="test_steps_after_hits or (test_cases and producer and (chain or chord))"
    " or (test_redis_connection and (pipelines or demoted)) or test_tls or test_hangups"
    " or (test_warming and dies)",
)
