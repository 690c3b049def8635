"""``cache ls``."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from ....core.entries import marks
from ....core.entries.marks import other_keys
from ....stores.protocol import Found
from .. import formatting
from ..session import NOTHING_FOUND, CacheCommand, example, note, open_cache
from ..tables import Row, Sheet

#: Prefix of the marks of tags.
_TAG = marks.of_tag("")

#: Sort keys; the lowest comes first.
_ORDERS: dict[str, Callable[[Found], Any]] = {
    "age": lambda item: (_age(item), item.entry.key),
    "size": lambda item: (-item.size, item.entry.key),
    "key": lambda item: item.entry.key,
}


@click.command(
    cls=CacheCommand,
    epilog=example("celery -A proj cache ls 'proj.tasks.report:*' --sort size --limit 10"),
)
@click.argument("pattern", default="*")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Most entries to list; 0 lists all.",
)
@click.option(
    "--sort",
    type=click.Choice(list(_ORDERS)),
    default="age",
    show_default=True,
    help="age: newest first; size: largest first; key: alphabetically.",
)
@click.option("--made-from", metavar="KEY", help="Only entries made from the entry of this key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line and entry.")
@click.pass_obj
def ls(
    context: Any, *, pattern: str, limit: int, sort: str, made_from: str | None, as_json: bool
) -> None:
    """List the valid entries whose keys match PATTERN.

    PATTERN is a glob for whole keys, which read task:label:digest: * stands for any text, ? for one
    character, [ab] for one of these. Quote it, or the shell takes it for files. All keys of the
    namespace are read through, whatever the limit.
    """
    count = 0

    def counted() -> Any:
        nonlocal count
        for item in open_cache(context).runtime.entries(pattern):
            if made_from is not None and made_from not in other_keys(item.entry):
                continue
            count += 1
            yield item

    order = _ORDERS[sort]
    found = heapq.nsmallest(limit, counted(), order) if limit else sorted(counted(), key=order)
    if not found:
        note(f"No valid entry has a key that matches {pattern!r}.{_hint(pattern)}")
        raise click.exceptions.Exit(NOTHING_FOUND)
    if as_json:
        for item in found:
            click.echo(formatting.machine(describe(item)))
    else:
        sheet = Sheet("KEY", ("AGE", "EXPIRES IN", "SIZE", "RUN TIME", "TASK"), words=("TASK",))
        sheet.rows.extend(map(_row, found))
        sheet.print(no_color=context.no_color)
    if count > len(found):
        left_out = formatting.plural(count - len(found), "entry", "entries")
        note(f"{left_out} of {count:,} left out; --limit 0 lists all.")


def describe(item: Found) -> dict[str, Any]:
    """Return a found entry in JSON's types."""
    entry = item.entry
    return {
        "key": entry.key,
        "task": entry.task,
        "task_id": entry.task_id,
        "tags": [m.removeprefix(_TAG) for m in entry.marks if m.startswith(_TAG)],
        "made_from": other_keys(entry),
        "created_at": datetime.fromtimestamp(entry.created_at, UTC),
        "age_seconds": round(_age(item), 3),
        "expires_in_seconds": round(item.remaining, 3),
        "lifetime_seconds": entry.lifetime,
        "size_bytes": item.size,
        "run_seconds": entry.run_seconds,
    }


def _age(item: Found) -> float:
    """Return the seconds since an entry was stored, by Redis' clock."""
    return max(0.0, item.entry.lifetime - item.remaining)


def _row(item: Found) -> Row:
    entry = item.entry
    cells = (
        formatting.duration(_age(item)),
        formatting.duration(item.remaining),
        formatting.size(item.size),
        formatting.duration(entry.run_seconds),
        entry.task,
    )
    return Row(entry.key, cells)


def _hint(pattern: str) -> str:
    if any(character in pattern for character in "*?["):
        return ""
    return f" It has no wildcard: did you mean '{pattern}:*'?"
