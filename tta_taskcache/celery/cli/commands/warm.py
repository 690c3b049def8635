"""``cache warm``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import click
from kombu.exceptions import OperationalError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ....core.arguments.call_spec import lines
from ....core.warm_policy import IN_FLIGHT, MAX_HOT, MAX_PRIORITY, Sending
from ...calls.cacheable_task import CacheableTask
from ...warming.warm_input import Source, read_calls
from ...warming.warm_progress import WarmProgress, WarmReport
from ...warming.warm_task import find_task, horizon, sources
from ...warming.warmer import Warmer
from .. import formatting
from ..session import (
    NOTHING_FOUND,
    UNREACHABLE,
    USAGE,
    CacheCommand,
    Failure,
    example,
    note,
    open_cache,
)
from ..shell_completion import complete_task

#: Width of the bar itself: with the figures of a million calls it fits into 80 columns.
_BAR_WIDTH = 10

#: Seconds between two lines of progress, where there is no terminal.
_LINE_EVERY = 10.0

ReportProgress = Callable[[WarmReport], None]


class _WarmFigures:
    """The figures of a warming in words.

    Attributes:
        total: Number of calls; None when it isn't known.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total
        self._started = monotonic()

    def share(self, now: WarmReport) -> float:
        """Return the share of calls that are done, from 0 to 1."""
        return self._settled(now) / max(self.total or 0, now.total, 1)

    def _settled(self, now: WarmReport) -> int:
        return now.fresh + now.uncacheable + now.sent - now.in_flight

    def words(self, now: WarmReport) -> str:
        """Return what is done and what is left, in words."""
        settled = self._settled(now)
        # Skipped calls take no time; the calls that are left may have to run.
        ran, seconds = settled - now.fresh, monotonic() - self._started
        if self.total is None:
            return f"{settled:,} calls, {now.fresh:,} fresh{_failed(now)}, more to read"
        left = max(0, self.total - settled)
        takes = f", {formatting.duration(left * seconds / ran)}" if left and ran else ""
        return f"{left:,} of {self.total:,} left{takes}, {now.fresh:,} fresh{_failed(now)}"


def _failed(now: WarmReport) -> str:
    count = now.failed + now.unstored + now.lost
    return f", {count:,} not stored" if count else ""


@contextmanager
def _progress_printer(total: int | None, *, no_color: bool) -> Iterator[ReportProgress]:
    """Report progress on stderr: with a bar on a terminal, in lines elsewhere."""
    figures = _WarmFigures(total)
    screen = Console(
        stderr=True,
        color_system=None if no_color else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield _in_lines(figures)
        return
    columns = (BarColumn(_BAR_WIDTH), TaskProgressColumn(), TextColumn("{task.description}"))
    # The bar is drawn anew all the time, as wide as the terminal then is.
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task("", total=None if total is None else 1.0)

        def report(now: WarmReport) -> None:
            share = None if total is None else figures.share(now)
            bar.update(task, completed=share, description=figures.words(now))

        report(WarmReport())
        yield report


def _in_lines(figures: _WarmFigures) -> ReportProgress:
    due = monotonic() + _LINE_EVERY

    def report(now: WarmReport) -> None:
        nonlocal due
        if monotonic() >= due:
            due = monotonic() + _LINE_EVERY
            note(figures.words(now))

    return report


@click.command(
    cls=CacheCommand,
    short_help="Have workers make calls before they are asked for.",
    epilog=example(
        "celery -A proj cache warm proj.tasks.report calls.jsonl --rate 50",
        "celery -A proj cache warm proj.tasks.report --hot 100",
        "psql ... | celery -A proj cache warm proj.tasks.report -",
    ),
)
@click.argument("task", metavar="TASK", shell_complete=complete_task)
@click.argument("file", metavar="[FILE]", type=click.Path(allow_dash=True), required=False)
@click.option("--hot", type=click.IntRange(1, MAX_HOT), metavar="N", help="The most requested N.")
@click.option("--rate", type=float, metavar="N", help="At most N calls a second.")
@click.option(
    "--in-flight",
    type=click.IntRange(min=1),
    default=IN_FLIGHT,
    show_default=True,
    metavar="N",
    help="At most N calls that aren't done.",
)
@click.option("--queue", metavar="NAME", help="Send them there, not to the task's own queue.")
@click.option("--priority", type=click.IntRange(0, MAX_PRIORITY), help="Of their messages.")
@click.option("--refresh", is_flag=True, help="Make the calls that are fresh, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and no progress.")
@click.pass_obj
def warm(
    context: Any,
    /,
    *,
    task: str,
    file: str | None,
    hot: int | None,
    rate: float | None,
    in_flight: int,
    queue: str | None,
    priority: int | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Have workers make calls of a task before anybody asks for them.

    FILE holds a call in JSON on each line: a list of arguments, an object of keyword arguments, or
    {"args": [...], "kwargs": {...}, "context": {...}}. With - it is read from stdin. Or else --hot
    takes the calls that were requested most, where the task's cache_warm option learns them.

    Calls whose results are fresh are skipped, but with --refresh. So an interrupted warming is gone
    on with by repeating it. Calls that fail are counted, and the rest goes on; then the exit code
    is 1.
    """
    cache = open_cache(context)
    if (file is None) == (hot is None):
        raise click.UsageError("give either FILE (or -) or --hot")
    found = find_task(cache.app, task)
    sending = Sending(
        rate=rate, in_flight=in_flight, queue=queue, priority=priority, refresh=refresh
    )
    calls, total = _calls(found, file, hot)
    progress = WarmProgress()
    stays_fresh = horizon(found, hot=hot is not None)
    if as_json:
        _run(Warmer(found, sending, horizon=stays_fresh, progress=progress), calls)
    else:
        with _progress_printer(total, no_color=context.no_color) as report:
            _run(
                Warmer(found, sending, horizon=stays_fresh, progress=progress, report=report), calls
            )
    _report(progress.done, as_json=as_json)


def _calls(task: CacheableTask, file: str | None, hot: int | None) -> tuple[Source, int | None]:
    """Return the calls, and their number; None when it can't be known."""
    if file is None:
        hottest = sources(task, None, hot)
        return read_calls(hottest, task.name), len(hottest)
    if file == "-":
        return lines(sys.stdin, "stdin"), None
    try:
        with Path(file).open("rb") as opened:
            total = sum(1 for line in opened if line.strip())
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", USAGE) from None
    return read_calls(file, task.name), total


def _run(warmer: Warmer, calls: Source) -> None:
    try:
        warmer.run(calls)
    except KeyboardInterrupt:
        done = warmer.progress.done
        made = formatting.plural(done.total, "call", "calls")
        message = f"interrupted after {made}; repeat it to go on"
        raise Failure(message, NOTHING_FOUND) from None
    except OperationalError as error:
        raise Failure(f"the broker can't be reached: {error}", UNREACHABLE) from None
    except ValueError as error:
        raise Failure(str(error), USAGE) from None


def _report(done: WarmReport, *, as_json: bool) -> None:
    if as_json:
        click.echo(formatting.machine(asdict(done)))
    else:
        parts = {
            "were fresh": done.fresh,
            "stored": done.stored,
            "not stored": done.unstored,
            "failed": done.failed,
            "lost": done.lost,
            "can't be cached": done.uncacheable,
        }
        counts = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
        took = formatting.duration(done.seconds)
        calls = formatting.plural(done.total, "call", "calls")
        click.echo(f"Warmed {calls} in {took}: {counts or 'nothing to do'}.")
    if not done.total or done.failed or done.unstored or done.lost or done.uncacheable:
        raise click.exceptions.Exit(NOTHING_FOUND)
