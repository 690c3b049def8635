"""``cache sweep``."""

from __future__ import annotations

from typing import Any

import click

from ....cache.engine import sweeping
from ....stores.sweep_commands import SweepProgress
from ...config.runtime import Runtime
from .. import formatting
from ..progress import Quiet, on_stderr, share
from ..session import NOTHING_FOUND, CacheCommand, Failure, example, open_cache


class _SweepRun:
    """A sweep that this process runs or follows.

    Attributes:
        now: Its progress.
        is_ours: Whether this process runs it.
    """

    def __init__(self, runtime: Runtime, output: Quiet) -> None:
        self._runtime = runtime
        self._output = output
        self.now = SweepProgress()
        self.is_ours = True

    def run(self) -> SweepProgress:
        """Start a sweep, or follow the one under way, until it is over.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        run, engine = self._runtime.run, self._runtime.engine
        found = run(sweeping.progress())
        if (found is None or found.is_over) and run(sweeping.request()):
            now = SweepProgress()
        else:
            now = self._follow(run(sweeping.progress()) or SweepProgress())
        while not now.is_over:
            now = run(sweeping.batch(engine, now))
            self._report_progress(now)
        return now

    def _follow(self, found: SweepProgress) -> SweepProgress:
        """Follow another process' sweep; if it stands still, return the progress to go on from."""
        self.is_ours, self.now = False, found
        self._output.say("A sweep is under way: following it, as long as it moves.")
        self._report_progress(found)
        now = self._runtime.run(sweeping.follow(self._runtime.engine, found, self._report_progress))
        if now.is_over:
            return now
        self.is_ours = True
        self._output.say("It stands still: going on with it from here.")
        return self._runtime.run(sweeping.resume(now))

    def _report_progress(self, now: SweepProgress) -> None:
        if now.visited < self.now.visited:
            self._output.say("More has ended meanwhile: through all keys once more.")
        self.now = now
        self._output.report(now)


@click.command(cls=CacheCommand, epilog=example("celery -A proj cache sweep"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and no progress.")
@click.pass_obj
def sweep(context: Any, as_json: bool) -> None:
    """Give back the memory of ended entries now.

    What was invalidated is never served again, but keeps its memory until it is swept, or expires.
    Workers do that in the background for what ended by task, by pattern and all at once, so this is
    for what ended by tag, and for when no worker does it.

    This process reads through all keys of the Redis database, in batches, and after each rests for
    as long as it took.

    A sweep that is under way is followed until it is over; if it stands still for 5 seconds, it is
    gone on with here. What then ended by tag since it began may be left for another one. Ctrl-C
    interrupts a sweep; within an hour the next one goes on from there.
    """
    cache = open_cache(context)
    output = Quiet() if as_json else on_stderr(no_color=context.no_color)
    sweep_run = _SweepRun(cache.runtime, output)
    try:
        with output:
            end = sweep_run.run()
    except KeyboardInterrupt:
        rest = "the next sweep goes on from there" if sweep_run.is_ours else "it goes on without us"
        raise Failure(f"interrupted at {share(sweep_run.now):.0%}; {rest}", NOTHING_FOUND) from None
    if as_json:
        report = {"keys": end.visited, "dropped": end.dropped, "freed_bytes": end.freed}
        click.echo(formatting.machine(report))
    else:
        click.echo(
            f"Swept {formatting.plural(end.visited, 'key', 'keys')}: "
            f"{formatting.plural(end.dropped, 'entry', 'entries')} dropped, "
            f"{formatting.size(end.freed)} freed."
        )
