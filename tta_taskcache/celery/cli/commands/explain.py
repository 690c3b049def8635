"""``cache explain``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import click

from ....errors import WrongArguments
from ....semantic.neighbours import JudgedNeighbour
from ...api.cached_task import CachedTask
from ...api.explanation import Explanation
from ...api.task_cache import TaskCache
from ...lookup.nearest_entry import Nearest
from .. import formatting
from ..session import NOTHING_FOUND, USAGE, CacheCommand, Failure, example, open_cache
from ..shell_completion import complete_task

#: Longer values are cut in the list of arguments, which the user has just typed.
_WIDTH = 60


@click.command(
    cls=CacheCommand,
    epilog=example(
        "celery -A proj cache explain proj.tasks.report 2024 region=north",
        "celery -A proj cache explain proj.tasks.summarize u42 '\"1\"' --header tenant=acme",
    ),
)
@click.argument("task", shell_complete=complete_task)
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    help="A context header of the call (cache_vary).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def explain(
    context: Any, task: str, arguments: tuple[str, ...], headers: tuple[str, ...], as_json: bool
) -> None:
    """Say whether a call of TASK would be answered, and if not, why.

    ARGS are the call's arguments. Each is read as JSON if it is JSON, else as text: 1 is a number,
    '"1"' and one are text, '[1, 2]' is a list. NAME=VALUE gives a parameter of that name.

    Of a call that isn't stored it is said in what it differs from the nearest that is: in which
    argument, header or version. Up to 1,000 stored calls of the task are compared for that.
    With cache_semantic, the nearest texts follow, each with its similarity and why it doesn't
    answer; the call's text is embedded for that. Nothing is run or changed.

    Exit code 0 for a hit, 1 for a miss and for a call that bypasses the cache, 3 when Redis can't
    be reached.
    """
    cache = open_cache(context)
    cached = _task(cache, task)
    args, kwargs = _split(cached, arguments)
    # A lookup takes a fault for a miss; here it is an error.
    cache.runtime.run(cache.runtime.engine.peek("ping"))
    try:
        with cache.context(**dict(map(_header, headers))):
            explanation = cached.cache.explain(*args, **kwargs)
    except WrongArguments as error:
        raise Failure(f"a call of {task} has no such arguments: {error}", USAGE) from None
    if as_json:
        click.echo(formatting.machine(asdict(explanation)))
    else:
        _print(explanation)
    if explanation.status != "hit":
        raise click.exceptions.Exit(NOTHING_FOUND)


def _task(cache: TaskCache, name: str) -> CachedTask:
    tasks = cache.app.tasks
    cached = [known for known, task in tasks.items() if isinstance(task, CachedTask)]
    if name in cached:
        found: CachedTask = tasks[name]
        return found
    near = get_close_matches(name, cached, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = "isn't a cached task of" if name in tasks else "is unknown to"
    raise Failure(f"{name!r} {what} this app{hint}", USAGE)


def _split(task: CachedTask, arguments: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and keyword arguments that the task would be called with."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    names = task.cache_keyer.binder.names
    for text in arguments:
        name, sign, value = text.partition("=")
        if sign and name in names:
            kwargs[name] = _value(value)
        else:
            args.append(_value(text))
    return args, kwargs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _header(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise click.UsageError(f"--header {text!r}: must be NAME=VALUE")
    return name, value


def _print(explanation: Explanation) -> None:
    stale = " (stale)" * explanation.stale
    click.echo(f"{explanation.status.upper()}{stale}: {formatting.printable(explanation.reason)}")
    lines = {"Task": explanation.task, "Key": explanation.key or "- (it has none)"}
    if explanation.layer is not None:
        lines["Found in"] = "Redis (l2)" if explanation.layer == "l2" else "memory (l1)"
        lines["Task id"] = explanation.task_id or "- (stored by task.cache)"
    for head, text in lines.items():
        click.echo(f"{head:<12} {formatting.printable(text)}")
    _print_values("Arguments", explanation.arguments)
    _print_values("Headers", explanation.vary)
    if explanation.search is not None:
        _print_nearest(
            explanation.search.nearest, explanation.search.compared, explanation.search.is_complete
        )
    _print_neighbours(explanation.neighbours)


def _print_values(head: str, values: Mapping[str, Any]) -> None:
    for i, (name, value) in enumerate(values.items()):
        text = formatting.printable(formatting.machine(value))
        cut = text if len(text) <= _WIDTH else f"{text[:_WIDTH]}... ({len(text):,} characters)"
        click.echo(f"{'' if i else head:<12} {name} = {cut}")


def _print_nearest(nearest: Nearest | None, compared: int, is_complete: bool) -> None:
    calls = formatting.plural(compared, "stored call", "stored calls")
    scope = f"{calls} of this task" + ("" if is_complete else "; there are more")
    if nearest is None:
        click.echo(f"{'Nearest':<12} - (compared with {scope})")
        return
    click.echo(f"{'Nearest':<12} {formatting.printable(nearest.key)}")
    click.echo(f"{'':<12} stored {formatting.duration(nearest.age)} ago (compared with {scope})")
    click.echo(f"{'Differs in':<12} {formatting.printable(', '.join(nearest.differs))}")


def _print_neighbours(neighbours: Sequence[JudgedNeighbour]) -> None:
    for i, neighbour in enumerate(neighbours):
        text = formatting.printable(str(neighbour))
        click.echo(f"{'' if i else 'Neighbours':<12} {text}")
