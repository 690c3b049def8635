"""``cache top``."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import Any

import click
from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from ....core.record import record
from ....errors import StoreUnavailable
from ....observability.counters import Stats, TaskStats, read_stats
from ...api.task_cache import TaskCache
from .. import formatting
from ..session import USAGE, CacheCommand, Failure, example, open_cache, where
from ..tables import Row, Sheet, screen_of_stdout

#: Seconds that rates cover: processes hand over their counts once a second.
WINDOW = 10.0

#: Drawings a second: a resized terminal is right after the next.
DRAWINGS = 4

_HEADS = ("HITS/S", "RUNS/S", "RATIO", "SAVING", "HITS", "RUNS", "SAVED")


@record
class _Reading:
    at: float
    stats: Stats


@dataclass(slots=True)
class _TopView:
    """The view on the screen: the newest reading, and the one that rates start from."""

    place: str
    readings: deque[_Reading] = field(default_factory=deque)
    fault: str = ""

    def add(self, reading: _Reading) -> None:
        self.readings.append(reading)
        while len(self.readings) > 2 and reading.at - self.readings[1].at >= WINDOW:  # noqa: PLR2004 - two make a rate
            self.readings.popleft()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        # A new sheet for each drawing: the terminal may have another size by now.
        sheet = (part for line in self._sheet().lines(console) for part in line.split())
        for line in [self._head(), Text(), *sheet][: options.max_height]:
            line.no_wrap = True
            line.truncate(options.max_width, overflow="ellipsis")
            yield line

    def _head(self) -> Text:
        if self.fault:
            return Text(f"The cache can't be reached: {self.fault}", "bold red")
        seconds = self._seconds()
        over = f"Rates of the last {seconds:.0f}s" if seconds else "Rates come in a moment"
        return Text(f"{over}; {self.place}", "dim")

    def _seconds(self) -> float:
        return self.readings[-1].at - self.readings[0].at if self.readings else 0.0

    def _sheet(self) -> Sheet:
        sheet = Sheet("TASK", _HEADS)
        if not self.readings:
            return sheet
        before, now = self.readings[0].stats.tasks, self.readings[-1].stats.tasks
        seconds, none = self._seconds(), TaskStats()
        pairs = {name: (before.get(name, none), now[name]) for name in now if name}
        busiest = sorted(
            pairs, key=lambda n: (-_calls(pairs[n][1]) + _calls(pairs[n][0]), -_calls(now[n]), n)
        )
        sheet.rows.append(_total(list(pairs.values()), seconds))
        sheet.rows.extend(Row(name, _cells([pairs[name]], seconds)) for name in busiest)
        return sheet


def _calls(stats: TaskStats) -> int:
    return sum(stats.hits.values()) + stats.runs


def _total(pairs: list[tuple[TaskStats, TaskStats]], seconds: float) -> Row:
    return Row("TOTAL", _cells(pairs, seconds), style="bold")


def _cells(pairs: list[tuple[TaskStats, TaskStats]], seconds: float) -> tuple[str, ...]:
    hits = sum(sum(now.hits.values()) for _, now in pairs)
    runs = sum(now.runs for _, now in pairs)
    saved = sum(now.saved_seconds for _, now in pairs)
    new_hits = hits - sum(sum(before.hits.values()) for before, _ in pairs)
    new_runs = runs - sum(before.runs for before, _ in pairs)
    saving = saved - sum(before.saved_seconds for before, _ in pairs)
    calls = new_hits + new_runs
    return (
        f"{new_hits / seconds:,.1f}" if seconds else "-",
        f"{new_runs / seconds:,.1f}" if seconds else "-",
        f"{new_hits / calls:.1%}" if calls else "-",
        # Run time saved a second: so many busy processes fewer.
        f"{saving / seconds:,.1f}x" if seconds else "-",
        f"{hits:,}",
        f"{runs:,}",
        formatting.saving(saved),
    )


@click.command(cls=CacheCommand, epilog=example("celery -A proj cache top"))
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two readings.",
)
@click.pass_obj
def top(context: Any, interval: float) -> None:
    """Watch what the cache does, the busiest tasks first. Ctrl-C ends it.

    HITS/S, RUNS/S and RATIO are of the last ten seconds. SAVING is the run time that hits saved in
    them, a second: 2.0x is the work of two busy pool processes. HITS, RUNS and SAVED are totals,
    as in celery -A proj cache stats, which also counts what is stored.
    """
    if not sys.stdout.isatty():
        raise Failure("top needs a terminal; for pipes there is: celery -A proj cache stats", USAGE)
    cache = open_cache(context)
    view = _TopView(where(cache))
    screen = screen_of_stdout(no_color=context.no_color)
    view.add(_read(cache))  # fails as other commands do, when the cache can't be reached at all
    try:
        with Live(view, console=screen, screen=True, refresh_per_second=DRAWINGS):
            while True:
                Event().wait(interval)
                _reread(cache, view)
    except KeyboardInterrupt:
        pass


def _read(cache: TaskCache) -> _Reading:
    counted = read_stats(cache.runtime.run(cache.runtime.engine.totals()))
    return _Reading(monotonic(), counted)


def _reread(cache: TaskCache, view: _TopView) -> None:
    try:
        view.add(_read(cache))
        view.fault = ""
    except StoreUnavailable as error:
        view.fault = str(error)
