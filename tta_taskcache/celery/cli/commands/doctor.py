"""``cache doctor``."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import click
from celery import Celery
from kombu.exceptions import OperationalError, VersionMismatch
from rich.console import Console
from rich.text import Text

from ....observability.counters import read_stats
from ....stores.connections.connection import Link
from ....stores.redis.health import examine
from ...api.cached_task import CachedTask
from ...api.task_cache import TaskCache
from ...config.serializers import CODECS
from ...doctor.diagnosis import diagnose, first_to_do
from ...doctor.facts import Facts, Finding, Level
from ...doctor.package_facts import read_packages
from ...patches.internals import ask_workers
from ...worker.control import about_library
from .. import formatting
from ..session import NOTHING_FOUND, PATIENCE, CacheCommand, example, find_cache
from ..tables import screen_of_stdout

_STYLES = {Level.OK: "green", Level.ADVICE: "yellow", Level.WRONG: "bold red"}

_INDENT = " " * 8


@click.command(
    cls=CacheCommand,
    short_help="Say what is wrong, and what to do about it.",
    epilog=example("celery -A proj cache doctor"),
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for workers to answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line and finding.")
@click.pass_obj
def doctor(context: Any, timeout: float, as_json: bool) -> None:
    """Look for what is wrong with the cache, and say what to do about it.

    Looked at are: version, eviction, persistence and replication of Redis, its latency and clock
    from here, the invalidation log, the versions of Celery, kombu and redis-py here, whether the
    broker is on the same Redis, the serializers of all cached tasks, and the workers: their
    versions, whether they use the same Redis and namespace, and reach it. And what was counted:
    tasks that shouldn't be cached, and tasks of another app in this namespace.

    What is wrong makes the exit code 1. Advice doesn't: it names a risk that may be meant. The last
    line says what to do first.
    """
    cache = find_cache(context)
    findings = diagnose(_facts(cache, context.app, timeout))
    first = first_to_do(findings)
    count = {level: sum(each.level is level for each in findings) for level in Level}
    if as_json:
        for finding in findings:
            level = finding.level.value
            line = {"about": finding.about, "level": level, "told": finding.message}
            more = {"remedy": finding.remedy, "first": finding is first}
            click.echo(formatting.machine({**line, **more}))
    else:
        screen = screen_of_stdout(no_color=context.no_color)
        for finding in findings:
            _print(finding, screen)
        click.echo(
            f"{count[Level.WRONG]} wrong, {count[Level.ADVICE]} to think about, "
            f"{count[Level.OK]} well."
        )
        click.echo(_what_to_do(first))
    if count[Level.WRONG]:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _what_to_do(first: Finding | None) -> str:
    if first is None:
        return "Nothing to do."
    when = "First" if first.level is Level.WRONG else "Nothing has to be done; first to think about"
    return formatting.printable(f"{when}: {first.remedy} ({first.about}).")


def _facts(cache: TaskCache, app: Celery, timeout: float) -> Facts:
    runtime = cache.runtime
    settings = runtime.settings
    cached = (task for task in app.tasks.values() if isinstance(task, CachedTask))
    link = Link(settings.url or "", max(settings.timeout, PATIENCE))
    run_ids, workers, fault = _ask_broker(app, timeout)
    return Facts(
        settings=settings,
        store=runtime.store.name,
        health=examine(link, settings.namespace),
        broker_run_ids=run_ids,
        broker_fault=fault,
        policies={task.name: task.cache_policy for task in cached},
        codecs=frozenset((*CODECS.serializers, *CODECS.compressors)),
        result_serializer=app.conf.result_serializer,
        versions=about_library(),
        workers=workers,
        packages=read_packages(app),
        stats=read_stats(runtime.run(runtime.engine.totals())).tasks,
        tasks=frozenset(app.tasks),
    )


def _ask_broker(
    app: Celery, timeout: float
) -> tuple[frozenset[str], dict[str, Mapping[str, Any] | None], str]:
    """Return the run ids of the broker's Redis, the replies of workers, and the broker's fault."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
            run_ids = _run_ids(connection)
        # Over another connection: a channel that waits for replies is good for nothing else.
        alive = app.control.inspect(timeout=timeout).ping() or {}
        if not alive:
            return run_ids, {}, ""
        replies = ask_workers(app, "taskcache", timeout=timeout, limit=len(alive))
        return run_ids, {name: _versions_of(replies.get(name)) for name in alive}, ""
    except (OperationalError, VersionMismatch, OSError) as error:
        return frozenset(), {}, str(error)


def _versions_of(reply: Any) -> Mapping[str, Any] | None:
    """Return a worker's reply; None for a worker without that command."""
    return reply if isinstance(reply, Mapping) and "error" not in reply else None


def _run_ids(connection: Any) -> frozenset[str]:
    client = getattr(connection.default_channel, "client", None)
    if connection.transport.driver_type != "redis" or client is None:
        return frozenset()
    try:
        return frozenset({client.info("server")["run_id"]})
    except Exception:  # noqa: BLE001 - whatever client it is: one finding less
        return frozenset()


def _print(finding: Finding, screen: Console) -> None:
    level = finding.level.value.ljust(len(_INDENT))
    lines = _wrapped(f"{finding.about}: {finding.message}", screen.width)
    screen.print(Text.assemble((level, _STYLES[finding.level]), "\n".join(lines)), soft_wrap=True)
    if finding.remedy:
        remedy = "\n".join(_wrapped(f"Remedy: {finding.remedy}", screen.width))
        screen.print(Text(_INDENT + remedy), soft_wrap=True)


def _wrapped(text: str, width: int) -> list[str]:
    first, *rest = textwrap.wrap(
        formatting.printable(text),
        max(width - len(_INDENT), 40),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [first, *(_INDENT + line for line in rest)]
