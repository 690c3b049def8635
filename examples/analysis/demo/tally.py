"""The counters of all processes, added up."""

from collections import Counter
from dataclasses import dataclass, field

from tta_taskcache.observability.counters import Stats

#: Where a hit is answered, and what that is.
SITES = {
    "producer": "producer: nothing is sent",
    "consumer": "worker, its main process",
    "pool": "worker, its pool",
}


@dataclass(frozen=True, slots=True)
class HotCallTally:
    """Totals, those up to an earlier moment taken off."""

    now: Stats
    before: Stats = field(default_factory=lambda: Stats({}))

    def runs(self, task: str | None = None) -> int:
        """How often a task ran, or all did."""
        return sum(
            sign * each.runs
            for sign, stats in self._both
            for name, each in stats.tasks.items()
            if task in (None, name)
        )

    def hits(self, site: str, layer: str | None = None) -> int:
        """How many hits a site had, in one layer or both."""
        found: Counter[str] = Counter()
        for sign, stats in self._both:
            for each in stats.tasks.values():
                for place, count in each.hits.items():
                    found[place] += sign * count
        return sum(found[f"{site}/{each}"] for each in ((layer,) if layer else ("l1", "l2")))

    @property
    def spent(self) -> float:
        """Seconds in runs."""
        return sum(s * t.run_seconds for s, stats in self._both for t in stats.tasks.values())

    @property
    def saved(self) -> float:
        """Seconds of the runs that hits stand for, less their lookups."""
        return sum(
            sign * (each.saved_seconds + each.coalesced_seconds)
            for sign, stats in self._both
            for each in stats.tasks.values()
        )

    def cost(self, task: str) -> float:
        """Seconds that a run of a task takes on average."""
        stats = self.now.tasks[task]
        return stats.run_seconds / stats.runs

    @property
    def faults(self) -> int:
        """Faults of the cache."""
        return self.now.faults - self.before.faults

    @property
    def _both(self) -> tuple[tuple[int, Stats], tuple[int, Stats]]:
        return (1, self.now), (-1, self.before)
