"""``cache invalidate``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import click
from kombu.exceptions import OperationalError

from ....core.arguments.labels import SEPARATOR, escape
from ....core.entries import marks
from ....core.record import record
from ....errors import EntryError, StoreUnavailable
from ....stores.protocol import Found
from ...api.cached_task import CachedTask
from ...api.task_cache import TaskCache
from ...warming import maintenance_tasks
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
    warnings_as_notes,
)
from ..shell_completion import Completer, complete_task

#: More entries than these are only ended after a question.
MANY = 100


@record
class Target:
    """The target of an invalidation: keys, tasks, tags, patterns, or everything."""

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    tags: tuple[str, ...]
    patterns: tuple[str, ...]
    all: bool
    soft: bool = False

    @property
    def _named(self) -> list[tuple[str, tuple[str, ...]]]:
        kinds = ("key", self.keys), ("task", self.tasks), ("tag", self.tags)
        return [(kind, n) for kind, n in (*kinds, ("pattern", self.patterns)) if n]

    @property
    def is_one_kind(self) -> bool:
        return len(self._named) + self.all == 1

    def __str__(self) -> str:
        if self.all:
            return "everything"
        ((kind, names),) = self._named
        return f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}"

    @property
    def set_marks(self) -> tuple[str, ...]:
        """The marks that are set: those that end its entries, or make them stale."""
        return tuple(map(marks.soft, self.marks)) if self.soft else self.marks

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that end its entries."""
        if self.all:
            return (marks.EVERYTHING,)
        return (
            *map(marks.of_key, self.keys),
            *map(marks.of_task, self.tasks),
            *map(marks.of_tag, self.tags),
            *map(marks.of_pattern, self.patterns),
        )

    @property
    def dropped(self) -> tuple[str, ...]:
        """The keys whose entries are dropped at once."""
        return () if self.soft else self.keys

    @property
    def globs(self) -> tuple[str, ...]:
        """Globs that match the keys of all its entries, and maybe others."""
        if self.tasks:
            return tuple(f"{escape(task)}{SEPARATOR}*" for task in self.tasks)
        return self.patterns or ("*",)

    def ends(self, found: Found) -> bool:
        """Whether it ends an entry that one of its globs matches."""
        return bool(self.patterns or set(self.marks) & set(found.entry.marks))


def _names(option: str, metavar: str, text: str, complete: Completer | None = None) -> Any:
    """Make an option that may be given several times; equal values count once."""
    return click.option(
        f"--{option}",
        f"{option}s",
        multiple=True,
        metavar=metavar,
        help=text,
        shell_complete=complete,
        callback=lambda _context, _option, names: tuple(dict.fromkeys(names)),
    )


@click.command(
    cls=CacheCommand,
    epilog=example(
        "celery -A proj cache invalidate --task proj.tasks.report --dry-run",
        "celery -A proj cache invalidate --tag user:u42",
        "celery -A proj cache invalidate --pattern 'proj.tasks.report:2024*'",
    ),
)
@_names("key", "KEY", "The entry under this key.")
@_names("task", "NAME", "All entries of this task.", complete_task)
@_names("tag", "TAG", "All entries with this tag.")
@_names("pattern", "GLOB", "All entries whose keys match.")
@click.option("--all", "everything", is_flag=True, help="All entries of the namespace.")
@click.option("--soft", is_flag=True, help="Make them stale instead, to be served and refreshed.")
@click.option("--yes", is_flag=True, help="Don't ask, and don't count what ends first.")
@click.option("--dry-run", is_flag=True, help="Only say how many entries would end.")
@click.option("--queue", is_flag=True, help="Leave it to a worker, which repeats it until done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def invalidate(
    context: Any,
    /,
    *,
    everything: bool,
    soft: bool,
    yes: bool,
    dry_run: bool,
    queue: bool,
    as_json: bool,
    **names: tuple[str, ...],
) -> None:
    """End entries, in all processes, now.

    Say what is to end with --key, --task, --tag or --pattern, each as often as needed, or with
    --all; one kind at a time. What is being computed right now isn't stored any more, either:
    that is why invalidating is worth it, and done, even where no entry is stored.

    GLOB is for whole keys, which read task:label:digest, as in celery -A proj cache ls. Quote it.

    --all asks before, and so does what has more than 100 entries, but for keys. To ask, the entries
    are counted, which takes a while for millions of them; with --yes it happens at once.

    Workers then give back the memory of what ended by task, by pattern or with --all. What ended
    by tag keeps it until it expires, or the next sweep.

    With --soft entries become stale: where the task has cache_stale_while_revalidate, they are
    served while one refresh runs.

    With --queue it happens when a worker comes to it and Redis answers: the Celery task
    tta_taskcache.invalidate is sent, and its id printed. When Redis is down add --yes, as there is
    no counting then.
    """
    target = _target(names, everything=everything, soft=soft)
    cache = open_cache(context)
    for task in target.tasks:
        _warn_of_unknown(cache, task)
    is_counted = dry_run or (not queue if target.keys else not yes)
    count = _count(cache, target) if is_counted else None
    if not dry_run and not yes:
        _confirm(target, count or 0)
    queued_as = _end(cache, target, queue=queue) if not dry_run else None
    if as_json:
        about = {"dry_run": dry_run, "entries": count, "queued_as": queued_as}
        click.echo(formatting.machine(about | asdict(target)))
    else:
        click.echo(_said(target, count, dry_run=dry_run, queued_as=queued_as))
    if dry_run and not count:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _target(names: dict[str, tuple[str, ...]], *, everything: bool, soft: bool) -> Target:
    target = Target(**names, all=everything, soft=soft)
    if not target.is_one_kind:
        raise click.UsageError(
            "say what is to end with --key, --task, --tag, --pattern or --all, and one kind only"
        )
    if "" in target.patterns:
        raise click.UsageError("--pattern '': must be a glob such as 'proj.tasks.report:*'")
    return target


def _warn_of_unknown(cache: TaskCache, name: str) -> None:
    cached = [known for known, task in cache.app.tasks.items() if isinstance(task, CachedTask)]
    if name in cached:
        return
    near = get_close_matches(name, cached, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = "isn't a cached task of" if name in cache.app.tasks else "is unknown to"
    note(f"Warning: {name!r} {what} this app{hint}")


def _count(cache: TaskCache, target: Target) -> int:
    """Count the valid entries that would end."""
    if target.keys:
        return sum(_is_stored(cache, key) for key in target.keys)
    found = (item for glob in target.globs for item in cache.runtime.entries(glob))
    return len({item.entry.key for item in found if target.ends(item)})


def _is_stored(cache: TaskCache, key: str) -> bool:
    try:
        return cache.runtime.run(cache.runtime.engine.peek(key)) is not None
    except EntryError:
        return False


def _confirm(target: Target, count: int) -> None:
    if not target.all and (target.keys or count <= MANY):
        return
    question = f"This would end {formatting.plural(count, 'entry', 'entries')} ({target})"
    if not sys.stdin.isatty():
        raise Failure(f"{question}, and nobody is here to ask: confirm it with --yes", USAGE)
    click.confirm(f"{question}. Go on?", abort=True, err=True)


def _end(cache: TaskCache, target: Target, *, queue: bool) -> str | None:
    """End the target's entries; with ``queue``, send a task that does, and return its id."""
    try:
        if queue:
            # The result backend may be the very Redis that is down.
            options = {"retry": False, "ignore_result": True}
            task = cache.app.tasks[maintenance_tasks.INVALIDATE]
            return str(task.apply_async((target.set_marks, target.dropped), **options).id)
        with warnings_as_notes():
            cache.end(target.set_marks, target.dropped)
    except StoreUnavailable as error:
        message = f"not acknowledged, so it may or may not have happened; repeat it: {error}"
        raise Failure(message, UNREACHABLE) from None
    except OperationalError as error:
        message = f"not queued, as the broker can't be reached: {error}"
        raise Failure(message, UNREACHABLE) from None
    return None


def _said(target: Target, count: int | None, *, dry_run: bool, queued_as: str | None) -> str:
    entries = "" if count is None else formatting.plural(count, "entry", "entries")
    if dry_run:
        return f"Invalidating {target} would {'make stale' if target.soft else 'end'} {entries}."
    if queued_as:
        return f"Queued as task {queued_as}: invalidate {target}" + (
            f" ({entries} now)." if entries else "."
        )
    done = "made stale" if target.soft else "ended"
    return f"Invalidated {target}: {entries} {done}." if entries else f"Invalidated {target}."
