"""``cache stats``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from ....observability.counters import Stats, TaskStats, read_stats, sum_up
from ...api.cached_task import CachedTask
from ...api.task_cache import TaskCache
from .. import formatting
from ..session import CacheCommand, example, open_cache, where
from ..shell_completion import complete_days
from ..tables import Row, Sheet

#: Remarks that have a column even when all are empty.
_ALWAYS = ("HITS AT", "COALESCED", "MISSED AS", "NOT STORED")


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one task, or of all: its counts, and its stored entries."""

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
    def reasons(self) -> dict[str, int]:
        """Misses by reason, whatever their site."""
        return _sum({name.partition("/")[2]: n} for name, n in self.counted.misses.items())

    @property
    def refused(self) -> dict[str, int]:
        """Results that weren't stored, by reason."""
        return {name: n for name, n in self.counted.fills.items() if name != "stored"}

    def counted_json(self) -> dict[str, Any]:
        """Return the counts in JSON's types."""
        about = {"hit_ratio": self.ratio, "misses_by_reason": self.reasons}
        return asdict(self.counted) | about

    def as_json(self) -> dict[str, Any]:
        """Return all figures in JSON's types."""
        return self.counted_json() | {"entries": self.entries, "size_bytes": self.size}

    @property
    def figures(self) -> dict[str, str]:
        """The counts of a task or a day, by column."""
        return {
            "HITS": f"{self.hits:,}",
            "RATIO": "-" if self.ratio is None else f"{self.ratio:.1%}",
            "MISSES": f"{sum(self.reasons.values()):,}",
            "RUNS": f"{self.counted.runs:,}",
            "SAVED": formatting.saving(self.counted.saved_seconds),
            "COST SAVED": formatting.amount(self.counted.saved_cost),
        }

    @property
    def remarks(self) -> dict[str, list[str]]:
        """The remarks in words, by column."""
        return {
            "HITS AT": _words(self.counted.hits),
            "COALESCED": self.coalesced,
            "MISSED AS": _words(self.reasons),
            "NOT STORED": _words(self.refused),
            "SHADOW": self.shadow,
            "VERIFIED": _words(self.counted.verified),
        }


def _first_day(_: Any, __: Any, value: str | None) -> date | None:
    """Read ``--since``."""
    if value is None:
        return None
    today = datetime.now(UTC).date()
    try:
        if value.endswith("d"):
            return today - timedelta(days=int(value[:-1]) - 1)
        first = date.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter("must be a day such as 2026-01-31, or days such as 7d") from None
    if first > today:
        raise click.BadParameter(f"is in the future: today is {today} (UTC)")
    return first


@click.command(
    cls=CacheCommand,
    epilog=example(
        "celery -A proj cache stats --json | jq .total.hit_ratio",
        "celery -A proj cache stats --since 7d",
    ),
)
@click.option(
    "--since",
    callback=_first_day,
    shell_complete=complete_days,
    metavar="DAY",
    help="Only what was counted from this day on (UTC): 2026-01-31, or 7d for the last 7 days.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def stats(context: Any, since: date | None, as_json: bool) -> None:
    """What the cache did, and what it holds, by task.

    HITS are calls that were answered, by site (where the call was answered: producer, consumer,
    pool, or direct for task.cache) and layer (l1 is a process's memory, l2 is Redis). COALESCED
    are those among them that waited for an equal call in flight, and were answered when it was
    done. RATIO is the share of calls that were answered instead of run: hits / (hits + runs).
    MISSES are looks that found nothing, by reason; one run may come after several. SAVED is the run
    time of the computations that hits stand for, less the lookups, and COST SAVED is what these
    computations cost (cache_cost); what coalesced hits got from others isn't in it, but said under
    COALESCED. SHADOW is what shadow mode found. VERIFIED are runs compared with what was stored.
    ENTRIES and SIZE are what is stored and valid now: to count it, all keys of the namespace are
    read through. Processes hand over their counts about once a second, so the last moment may be
    missing. With --since, a second table has the days: they are kept for 400.
    """
    cache = open_cache(context)
    engine, days = cache.runtime.engine, {}
    if since is None:
        counted = read_stats(cache.runtime.run(engine.totals()))
    else:
        days = cache.runtime.run(engine.days(since))
        counted = read_stats(sum_up(days.values()))
    lines = _by_task(cache, counted)
    total = _total(lines.values())
    by_day = {day: read_stats(counts) for day, counts in days.items()}
    if as_json:
        report = {
            "store": cache.runtime.store.name,
            "namespace": cache.runtime.settings.namespace,
            "tasks": {task: line.as_json() for task, line in lines.items()},
            "total": total.as_json(),
            "invalidations": counted.invalidations,
            "faults": counted.faults,
        }
        if since is not None:
            report |= {"since": since.isoformat(), "days": _days_json(by_day)}
        click.echo(formatting.machine(report))
        return
    _sheet("TASK", lines, total, stored=True).print(no_color=context.no_color)
    if by_day:
        click.echo()
        parts = {day: _total(map(Line, found.tasks.values())) for day, found in by_day.items()}
        _sheet("DAY", parts, total, stored=False).print(no_color=context.no_color)
    click.echo(
        f"{formatting.plural(counted.invalidations, 'invalidation', 'invalidations')}, "
        f"{formatting.plural(counted.faults, 'fault', 'faults')}; {where(cache)}"
    )


def _sheet(head: str, lines: Mapping[str, Line], total: Line, *, stored: bool) -> Sheet:
    """Make the table of tasks, or of days, which have no stored entries.

    Unused columns are left out: costs, and remarks that would be empty.
    """
    heads = [name for name in total.figures if name != "COST SAVED" or total.counted.saved_cost]
    remarks = [name for name, words in total.remarks.items() if words or name in _ALWAYS]
    remarks = remarks if stored else []
    sheet = Sheet(head, (*heads, *(("ENTRIES", "SIZE") if stored else ())), remarks=remarks)
    for name, line, style in [
        *((n, line, "") for n, line in lines.items()),
        ("TOTAL", total, "bold"),
    ]:
        cells = [line.figures[head] for head in heads]
        cells += [f"{line.entries:,}", formatting.size(line.size)] if stored else []
        sheet.rows.append(Row(name, cells, [line.remarks[each] for each in remarks], style))
    return sheet


def _days_json(by_day: Mapping[str, Stats]) -> dict[str, Any]:
    return {
        day: {task: Line(counted).counted_json() for task, counted in found.tasks.items() if task}
        for day, found in by_day.items()
    }


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
    sums: dict[str, Any] = {}
    for name in (field.name for field in fields(TaskStats)):
        values = [getattr(line.counted, name) for line in lines]
        groups = [value for value in values if isinstance(value, Mapping)]
        sums[name] = _sum(groups) if groups else sum(values)
    return Line(
        TaskStats(**sums) if lines else TaskStats(),
        sum(line.entries for line in lines),
        sum(line.size for line in lines),
    )


def _sum(groups: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for group in groups:
        total.update(group)
    return dict(total)


def _worth(seconds: float, cost: float) -> list[str]:
    words = [f"worth {formatting.duration(seconds)}"] if seconds else []
    return words + ([f"cost {formatting.amount(cost)}"] if cost else [])


def _words(counts: Mapping[str, int]) -> list[str]:
    return [f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: -item[1])]
