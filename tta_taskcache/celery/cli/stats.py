"""``cache stats``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click

from ...observability.counters import Stats, TaskStats, read_stats
from ..app import TaskCache
from ..task import CachedTask
from . import human
from .session import CacheCommand, example, open_cache, where
from .tables import Row, Sheet


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of one task, or of all: what was counted, and what is stored."""

    counted: TaskStats
    entries: int = 0
    size: int = 0

    @property
    def hits(self) -> int:
        return sum(self.counted.hits.values())

    @property
    def ratio(self) -> float | None:
        """The share of calls that were answered; None before the first.

        Not hits to misses: one call may miss at several sites before it runs.
        """
        calls = self.hits + self.counted.runs
        return self.hits / calls if calls else None

    @property
    def coalesced(self) -> list[str]:
        """How many of the hits waited for an equal call in flight, in words, if any."""
        count = self.counted.coalesced
        return [f"{count:,} of {human.plural(self.hits, 'hit', 'hits')}"] if count else []

    @property
    def reasons(self) -> dict[str, int]:
        """Misses by reason, whatever their site."""
        return _sum({name.partition("/")[2]: n} for name, n in self.counted.misses.items())

    @property
    def refused(self) -> dict[str, int]:
        """Results that weren't stored, by reason."""
        return {name: n for name, n in self.counted.fills.items() if name != "stored"}

    def as_json(self) -> dict[str, Any]:
        """It in JSON's types."""
        about = {"hit_ratio": self.ratio, "misses_by_reason": self.reasons}
        return asdict(self.counted) | about | {"entries": self.entries, "size_bytes": self.size}

    def row(self, name: str, style: str = "") -> Row:
        """It as a row of the table."""
        cells = (
            f"{self.hits:,}",
            "-" if self.ratio is None else f"{self.ratio:.1%}",
            f"{sum(self.reasons.values()):,}",
            f"{self.counted.runs:,}",
            human.duration(self.counted.saved_seconds),
            f"{self.entries:,}",
            human.size(self.size),
        )
        counted = (_words(self.reasons), _words(self.refused))
        return Row(name, cells, (_words(self.counted.hits), self.coalesced, *counted), style)


@click.command(
    cls=CacheCommand, epilog=example("celery -A proj cache stats --json | jq .total.hit_ratio")
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def stats(context: Any, as_json: bool) -> None:
    """What the cache did, and what it holds, by task.

    HITS are calls that were answered, by site (where the call was answered: producer, consumer,
    pool, or direct for task.cache) and layer (l1 is a process's memory, l2 is Redis). COALESCED
    are those among them that waited for an equal call in flight, and were answered when it was
    done. RATIO is the share of calls that were answered instead of run: hits / (hits + runs).
    MISSES are looks that found nothing, by reason; one run may come after several. SAVED is the run
    time of the computations that hits stand for. ENTRIES and SIZE are what is stored and valid now:
    to count it, all keys of the namespace are read through. Processes hand over their counts about
    once a second, so the last moment may be missing.
    """
    cache = open_cache(context)
    counted = read_stats(cache.runtime.run(cache.runtime.engine.totals()))
    lines = _by_task(cache, counted)
    total = _total(lines.values())
    if as_json:
        report = {
            "store": cache.runtime.store.name,
            "namespace": cache.runtime.settings.namespace,
            "tasks": {task: line.as_json() for task, line in lines.items()},
            "total": total.as_json(),
            "invalidations": counted.invalidations,
            "faults": counted.faults,
        }
        click.echo(human.machine(report))
        return
    heads = ("HITS", "RATIO", "MISSES", "RUNS", "SAVED", "ENTRIES", "SIZE")
    sheet = Sheet("TASK", heads, remarks=("HITS AT", "COALESCED", "MISSED AS", "NOT STORED"))
    sheet.rows.extend(line.row(task) for task, line in lines.items())
    sheet.rows.append(total.row("TOTAL", "bold"))
    sheet.print(no_color=context.no_color)
    click.echo(
        f"{human.plural(counted.invalidations, 'invalidation', 'invalidations')}, "
        f"{human.plural(counted.faults, 'fault', 'faults')}; {where(cache)}"
    )


def _by_task(cache: TaskCache, counted: Stats) -> dict[str, Line]:
    stored: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for item in cache.runtime.entries("*"):
        stored[item.entry.task] += 1
        sizes[item.entry.task] += item.size
    cached = (name for name, task in cache.app.tasks.items() if isinstance(task, CachedTask))
    return {
        task: Line(counted.tasks.get(task, TaskStats()), stored[task], sizes[task])
        for task in sorted({*cached, *counted.tasks, *stored} - {""})
    }


def _total(lines: Iterable[Line]) -> Line:
    lines = list(lines)
    parts = [line.counted for line in lines]
    counted = TaskStats(
        hits=_sum(part.hits for part in parts),
        misses=_sum(part.misses for part in parts),
        coalesced=sum(part.coalesced for part in parts),
        runs=sum(part.runs for part in parts),
        fills=_sum(part.fills for part in parts),
        run_seconds=sum(part.run_seconds for part in parts),
        saved_seconds=sum(part.saved_seconds for part in parts),
    )
    return Line(counted, sum(line.entries for line in lines), sum(line.size for line in lines))


def _sum(groups: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for group in groups:
        total.update(group)
    return dict(total)


def _words(counts: Mapping[str, int]) -> list[str]:
    return [f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: -item[1])]
