"""``cache invalidate``."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import click

from ...core import marks
from ...core.labels import SEPARATOR, escape
from ...errors import EntryError, StoreUnavailable
from ..app import TaskCache
from ..task import CachedTask
from . import human
from .session import (
    NOTHING_FOUND,
    UNREACHABLE,
    USAGE,
    CacheCommand,
    Failure,
    example,
    note,
    open_cache,
)

#: Tasks with more entries than this are only invalidated after a question.
MANY = 100


@dataclass(frozen=True, slots=True)
class Target:
    """What is to end: keys, or tasks, or everything."""

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    all: bool

    def __str__(self) -> str:
        if self.all:
            return "everything"
        kind = "key" if self.keys else "task"
        names = self.keys or self.tasks
        return f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}"

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that end it."""
        if self.all:
            return (marks.EVERYTHING,)
        return (*map(marks.of_task, self.tasks), *map(marks.of_key, self.keys))


@click.command(
    cls=CacheCommand,
    epilog=example("celery -A proj cache invalidate --task proj.tasks.report --dry-run"),
)
@click.option("--key", "keys", multiple=True, metavar="KEY", help="The entry under this key.")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="All entries of this task.")
@click.option("--all", "everything", is_flag=True, help="All entries of the namespace.")
@click.option("--yes", is_flag=True, help="Don't ask, and don't count what ends first.")
@click.option("--dry-run", is_flag=True, help="Only say how many entries would end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def invalidate(
    context: Any,
    *,
    keys: tuple[str, ...],
    tasks: tuple[str, ...],
    everything: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End entries, in all processes, now.

    Say what is to end with --key or --task, each as often as needed, or with --all; one kind at a
    time. What is being computed right now isn't stored any more, either: that is why
    invalidating is worth it, and done, even where no entry is stored.

    --all asks before, and so do tasks with more than 100 entries. To ask, the entries are counted,
    which takes a while for millions of them; with --yes it happens at once.
    """
    if (bool(keys), bool(tasks), everything).count(True) != 1:
        raise click.UsageError("say what is to end with --key, --task or --all, and one kind only")
    cache = open_cache(context)
    target = Target(tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(tasks)), everything)
    for task in target.tasks:
        _warn_of_unknown(cache, task)
    count = None if yes and not dry_run and not target.keys else _count(cache, target)
    if not dry_run:
        if not yes:
            _confirm(target, count or 0)
        _end(cache, target)
    if as_json:
        click.echo(human.machine({"dry_run": dry_run, "entries": count, **asdict(target)}))
    else:
        click.echo(_said(target, count, dry_run=dry_run))
    if dry_run and not count:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _warn_of_unknown(cache: TaskCache, name: str) -> None:
    cached = [known for known, task in cache.app.tasks.items() if isinstance(task, CachedTask)]
    if name in cached:
        return
    near = get_close_matches(name, cached, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = "isn't a cached task of" if name in cache.app.tasks else "is unknown to"
    note(f"Warning: {name!r} {what} this app{hint}")


def _count(cache: TaskCache, target: Target) -> int:
    """How many valid entries there are to end."""
    if target.keys:
        return sum(_is_stored(cache, key) for key in target.keys)
    if target.all:
        return sum(1 for _ in cache.runtime.entries("*"))
    return sum(
        item.entry.task == task
        for task in target.tasks
        for item in cache.runtime.entries(f"{escape(task)}{SEPARATOR}*")
    )


def _is_stored(cache: TaskCache, key: str) -> bool:
    try:
        return cache.runtime.run(cache.runtime.engine.peek(key)) is not None
    except EntryError:
        return False


def _confirm(target: Target, count: int) -> None:
    if not target.all and (target.keys or count <= MANY):
        return
    question = f"This would end {human.plural(count, 'entry', 'entries')} ({target})"
    if not sys.stdin.isatty():
        raise Failure(f"{question}, and nobody is here to ask: confirm it with --yes", USAGE)
    click.confirm(f"{question}. Go on?", abort=True, err=True)


def _end(cache: TaskCache, target: Target) -> None:
    try:
        cache.runtime.run(cache.runtime.engine.invalidate(target.marks, target.keys))
    except StoreUnavailable as error:
        message = f"not acknowledged, so it may or may not have happened; repeat it: {error}"
        raise Failure(message, UNREACHABLE) from None


def _said(target: Target, count: int | None, *, dry_run: bool) -> str:
    if count is None:
        return f"Invalidated {target}."
    ended = human.plural(count, "entry", "entries")
    if dry_run:
        return f"Invalidating {target} would end {ended}."
    return f"Invalidated {target}: {ended} ended."
