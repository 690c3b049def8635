"""``cache stats``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import click

from ....observability.counters import Stats, TaskStats, read_stats, sum_up
from ....stores.exchanges.ledger import days_since
from ...api.cached_task import CachedTask
from ...api.task_cache import TaskCache
from .. import formatting
from ..figures.daily_figures import daily_figures
from ..figures.stats_page import GENERATOR, write_page
from ..figures.task_figures import TaskFigures, total
from ..figures.terminal_bars import print_plot
from ..session import (
    NOTHING_FOUND,
    USAGE,
    CacheCommand,
    Failure,
    example,
    note,
    open_cache,
    where,
)
from ..shell_completion import complete_days
from ..tables import Row, Sheet, screen_of_stdout

#: Remarks that have a column even when all are empty.
_ALWAYS = ("HITS AT", "COALESCED", "RAN AFTER", "MISSED AT", "NOT STORED")

#: Days that are plotted when nobody says since when.
_PLOTTED = 30


def _first_day(_: Any, __: Any, value: str | None) -> date | None:
    """Read ``--since``."""
    if value is None:
        return None
    today = datetime.now(UTC).date()
    try:
        is_count = value.endswith("d")
        first = _days_ago(int(value[:-1])) if is_count else date.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter("must be a day such as 2026-01-31, or days such as 7d") from None
    if first > today and is_count:
        raise click.BadParameter("must be at least 1d, which is today")
    if first > today:
        raise click.BadParameter(f"is in the future: today is {today} (UTC)")
    return first


def _days_ago(count: int) -> date:
    """Return the first of the last so many days (UTC)."""
    return datetime.now(UTC).date() - timedelta(days=count - 1)


@click.command(
    cls=CacheCommand,
    epilog=example(
        "celery -A proj cache stats --json | jq .total.hit_ratio",
        "celery -A proj cache stats --since 7d",
        "celery -A proj cache stats --html cache.html --since 90d",
    ),
)
@click.option(
    "--since",
    callback=_first_day,
    shell_complete=complete_days,
    metavar="DAY",
    help="Only what was counted from this day on (UTC): 2026-01-31, or 7d for the last 7 days.",
)
@click.option("--plot", is_flag=True, help="Plot hits and saved run time by day and task instead.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with these plots and all figures to this file instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def stats(
    context: Any, since: date | None, html: Path | None, *, plot: bool, as_json: bool
) -> None:
    """What the cache did, and what it holds, by task.

    HITS are calls that were answered, by site (where the call was answered: producer, consumer,
    pool, or direct for task.cache) and layer (l1 is a process's memory, l2 is Redis). COALESCED
    are those among them that waited for an equal call in flight, and were answered when it was
    done. RUNS are runs that returned; RAN AFTER says by what miss each came about. NO RESULT are
    runs that failed, are tried again, or left none (ignore, reject). RATIO is the share of calls
    that were answered instead of run: hits / (hits + runs). SAVED is the run time of the
    computations that hits stand for, less the lookups, and COST SAVED is what these computations
    cost (cache_cost); what coalesced hits got from others isn't in it, but said under COALESCED.
    MISSES are looks that found no answer, by site and reason: a call may miss at the producer, at
    the consumer and in the pool before it runs once. SHADOW is what shadow mode found. VERIFIED are
    runs compared with what was stored.

    HITS AT adds up to HITS, RAN AFTER to RUNS, MISSED AT to MISSES. When nothing is in flight,
    HITS, RUNS and NO RESULT without retries add up to the calls that were made and the refreshes.

    ENTRIES and SIZE are what is stored and valid now: to count it, all keys of the namespace are
    read through. Processes hand over their counts about once a second, so the last moment may be
    missing. With --since, a second table has the days: they are kept for 400.

    --plot and --html show the last 30 days, or those since --since. The page loads nothing from
    elsewhere and has no scripts. It replaces one that was written before, and no other file.
    """
    if plot + as_json + (html is not None) > 1:
        raise click.UsageError("--plot, --html and --json exclude each other")
    cache = open_cache(context)
    if plot or html is not None:
        _plot(cache, since or _days_ago(_PLOTTED), html, no_color=context.no_color)
        return
    engine, days = cache.runtime.engine, {}
    if since is None:
        counted = read_stats(cache.runtime.run(engine.totals()))
    else:
        days = cache.runtime.run(engine.days(since))
        counted = read_stats(sum_up(days.values()))
    lines = _by_task(cache, counted)
    all_tasks = total(lines.values())
    by_day = {day: read_stats(counts) for day, counts in days.items()}
    if as_json:
        report = {
            "store": cache.runtime.store.name,
            "namespace": cache.runtime.settings.namespace,
            "tasks": {task: line.as_json() for task, line in lines.items()},
            "total": all_tasks.as_json(),
            "invalidations": counted.invalidations,
            "faults": counted.faults,
        }
        if since is not None:
            report |= {"since": since.isoformat(), "days": _days_json(by_day)}
        click.echo(formatting.machine(report))
        return
    _sheet("TASK", lines, all_tasks, stored=True).print(no_color=context.no_color)
    if not lines:
        note("No task is cached. What this app lacks is said by: celery -A proj cache init")
    if by_day:
        click.echo()
        parts = daily_figures(by_day, counted).by_day
        _sheet("DAY", parts, all_tasks, stored=False).print(no_color=context.no_color)
    click.echo(
        f"{formatting.plural(counted.invalidations, 'invalidation', 'invalidations')}, "
        f"{formatting.plural(counted.faults, 'fault', 'faults')}; {where(cache)}"
    )


def _plot(cache: TaskCache, since: date, html: Path | None, *, no_color: bool) -> None:
    """Plot the days since a first one in the terminal, or on a page."""
    days = cache.runtime.run(cache.runtime.engine.days(since))
    if not days:
        raise Failure(f"nothing was counted since {since} (UTC)", NOTHING_FOUND)
    counted = read_stats(sum_up(days.values()))
    # Those without counts in between, too.
    shown = days_since(date.fromisoformat(min(days)), time())
    figures = daily_figures({day: read_stats(days.get(day, {})) for day in shown}, counted)
    if html is None:
        screen = screen_of_stdout(no_color=no_color)
        for plot in figures.plots:
            print_plot(plot, screen)
            click.echo()
        click.echo(f"{_in_short(figures.total)}; {where(cache)}")
        return
    namespace = cache.runtime.settings.namespace
    page = write_page(
        figures, store=cache.runtime.store.name, namespace=namespace, now=datetime.now(UTC)
    )
    _replace(html, page)
    click.echo(f"{formatting.printable(str(html))}: {_in_short(figures.total)}")


def _in_short(figures: TaskFigures) -> str:
    hits, runs = figures.columns["HITS"], figures.columns["RUNS"]
    return f"{hits} hits and {runs} runs, {figures.columns['SAVED']} saved"


def _replace(path: Path, page: str) -> None:
    """Write a page, unless something else is there."""
    try:
        if path.exists() and GENERATOR not in path.read_text("utf-8", errors="replace"):
            raise Failure(f"{path}: there already, and no page of this command; left alone", USAGE)
        path.write_text(page, "utf-8")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", USAGE) from None


def _sheet(
    head: str, lines: Mapping[str, TaskFigures], summed: TaskFigures, *, stored: bool
) -> Sheet:
    """Make the table of tasks, or of days, which have no stored entries.

    Unused columns are left out: costs, and remarks that would be empty.
    """
    heads = [name for name in summed.columns if name != "COST SAVED" or summed.counted.saved_cost]
    remarks = [name for name, words in summed.remarks.items() if words or name in _ALWAYS]
    remarks = remarks if stored else []
    sheet = Sheet(head, (*heads, *(("ENTRIES", "SIZE") if stored else ())), remarks=remarks)
    for name, line, style in [
        *((n, line, "") for n, line in lines.items()),
        ("TOTAL", summed, "bold"),
    ]:
        cells = [line.columns[head] for head in heads]
        cells += [f"{line.entries:,}", formatting.size(line.size)] if stored else []
        sheet.rows.append(Row(name, cells, [line.remarks[each] for each in remarks], style))
    return sheet


def _days_json(by_day: Mapping[str, Stats]) -> dict[str, Any]:
    return {
        day: {
            task: TaskFigures(counted).counted_json()
            for task, counted in found.tasks.items()
            if task
        }
        for day, found in by_day.items()
    }


def _by_task(cache: TaskCache, counted: Stats) -> dict[str, TaskFigures]:
    stored: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for item in cache.runtime.entries("*"):
        stored[item.entry.task] += 1
        sizes[item.entry.task] += item.size
    cached = (name for name, task in cache.app.tasks.items() if isinstance(task, CachedTask))
    return {
        task: TaskFigures(counted.tasks.get(task, TaskStats()), stored[task], sizes[task])
        for task in sorted({*cached, *counted.tasks, *stored} - {""})
    }
