"""The figures of one task, of a day, or of all tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from ....core.record import record
from ....observability.counters import TaskStats
from .. import formatting

#: The reason of runs that were counted before reasons were.
UNKNOWN = "unknown"


@record
class TaskFigures:
    """The figures of one task, or of all: its counts, and its stored entries."""

    counted: TaskStats
    entries: int = 0
    size: int = 0

    @property
    def hits(self) -> int:
        return sum(self.counted.hits.values())

    @property
    def misses(self) -> int:
        return sum(self.counted.misses.values())

    @property
    def ratio(self) -> float | None:
        """The share of calls that were answered; None before the first.

        Not hits to misses: one call may miss at several sites before it runs.
        """
        calls = self.hits + self.counted.runs
        return self.hits / calls if calls else None

    @property
    def coalesced(self) -> list[str]:
        """The hits that waited for an equal call in flight, in words; empty for none."""
        count = self.counted.coalesced
        words = [f"{count:,} of {formatting.plural(self.hits, 'hit', 'hits')}"] if count else []
        return words + _worth(self.counted.coalesced_seconds, self.counted.coalesced_cost)

    @property
    def shadow(self) -> list[str]:
        """The counts of shadow mode, in words; empty for none."""
        counted = self.counted
        return _words(counted.shadow) + _worth(counted.shadow_seconds, counted.shadow_cost)

    @property
    def run_reasons(self) -> dict[str, int]:
        """Runs by the reason of the miss before them; they add up to the runs."""
        known = self.counted.run_reasons
        unknown = self.counted.runs - sum(known.values())
        return {**known, UNKNOWN: unknown} if unknown > 0 else dict(known)

    @property
    def refused(self) -> dict[str, int]:
        """Results that weren't stored, by reason."""
        return {name: n for name, n in self.counted.fills.items() if name != "stored"}

    def counted_json(self) -> dict[str, Any]:
        """Return the counts in JSON's types."""
        return asdict(self.counted) | {
            "hit_ratio": self.ratio,
            "misses_by_reason": _by_part(self.counted.misses, 2),
            "misses_by_site": _by_part(self.counted.misses, 0),
            "run_reasons": self.run_reasons,
        }

    def as_json(self) -> dict[str, Any]:
        """Return all figures in JSON's types."""
        return self.counted_json() | {"entries": self.entries, "size_bytes": self.size}

    @property
    def columns(self) -> dict[str, str]:
        """The counts of a task or a day, by column."""
        return {
            "HITS": f"{self.hits:,}",
            "RUNS": f"{self.counted.runs:,}",
            "RATIO": "-" if self.ratio is None else f"{self.ratio:.1%}",
            "SAVED": formatting.saving(self.counted.saved_seconds),
            "COST SAVED": formatting.amount(self.counted.saved_cost),
            "MISSES": f"{self.misses:,}",
        }

    @property
    def remarks(self) -> dict[str, list[str]]:
        """The remarks in words, by column."""
        return {
            "HITS AT": _words(self.counted.hits),
            "COALESCED": self.coalesced,
            "RAN AFTER": _words(self.run_reasons),
            "NO RESULT": _words(self.counted.no_results),
            "MISSED AT": _words(self.counted.misses),
            "NOT STORED": _words(self.refused),
            "SHADOW": self.shadow,
            "VERIFIED": _words(self.counted.verified),
        }


def total(figures: Iterable[TaskFigures]) -> TaskFigures:
    """Add figures up."""
    figures = list(figures)
    sums: dict[str, Any] = {}
    for name in (field.name for field in fields(TaskStats)):
        values = [getattr(each.counted, name) for each in figures]
        groups = [value for value in values if isinstance(value, Mapping)]
        sums[name] = _sum(groups) if groups else sum(values)
    return TaskFigures(
        TaskStats(**sums) if figures else TaskStats(),
        sum(each.entries for each in figures),
        sum(each.size for each in figures),
    )


def _by_part(counts: Mapping[str, int], part: int) -> dict[str, int]:
    """Sum counts of ``site/reason`` by one part: 0 is the site, 2 the reason."""
    return _sum({name.partition("/")[part]: n} for name, n in counts.items())


def _sum(groups: Iterable[Mapping[str, int]]) -> dict[str, int]:
    added: Counter[str] = Counter()
    for group in groups:
        added.update(group)
    return dict(added)


def _worth(seconds: float, cost: float) -> list[str]:
    words = [f"worth {formatting.duration(seconds)}"] if seconds else []
    return words + ([f"cost {formatting.amount(cost)}"] if cost else [])


def _words(counts: Mapping[str, int]) -> list[str]:
    return [f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: -item[1])]
