"""``cache show``."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import click

from ....core.entries.entry import Entry, pack
from ....errors import EntryError
from ....stores.protocol import Found
from ...config.serializers import CODECS
from .. import formatting
from ..session import NOTHING_FOUND, CacheCommand, Failure, example, open_cache
from .ls import describe

#: Serializers whose reading can't run code.
SAFE = ("json", "msgpack", "yaml")


@click.command(
    cls=CacheCommand,
    epilog=example(
        "celery -A proj cache show proj.tasks.report:2024:0f343b0931126a20f133d67c2b018a3b"
    ),
)
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(context: Any, key: str, as_json: bool) -> None:
    """Show all about the entry under KEY, its value included.

    The value is shown as JSON: dates as ISO 8601, bytes as base64, other types as their text. It is
    only read if it was stored as json, msgpack or yaml: reading pickle and the like can run code.
    """
    cache = open_cache(context)
    try:
        peeked = cache.runtime.run(cache.runtime.engine.peek(key))
    except EntryError as error:
        message = f"what is stored under {key!r} is no entry that this app can read: {error}"
        raise Failure(message, NOTHING_FOUND) from None
    if peeked is None:
        message = (
            f"no valid entry under {key!r}: never stored, expired or invalidated "
            "(celery -A proj cache ls lists those there are)"
        )
        raise Failure(message, NOTHING_FOUND)
    entry, remaining = peeked
    about = describe(Found(entry, len(pack(entry)), remaining)) | {
        "serializer": entry.serializer,
        "compression": entry.compression,
        "marks": entry.marks,
        "born": {"incarnation": entry.born.incarnation, "sequence": entry.born.sequence},
    }
    value, why_not = _value(entry)
    if as_json:
        shown = {"value": value} if not why_not else {"value_withheld": why_not}
        click.echo(formatting.machine(about | shown))
    else:
        _print(about)
        click.echo(f"Value        {why_not}" if why_not else f"Value\n{formatting.readable(value)}")


def _value(entry: Entry) -> tuple[Any, str]:
    """Return an entry's value; None, and the reason, when it can't be shown."""
    if entry.serializer not in SAFE:
        return None, f"not shown: stored as {entry.serializer}, which isn't safe to read here"
    if entry.serializer not in set(CODECS.serializers):
        return None, f"not shown: {entry.serializer} isn't installed here"
    try:
        return CODECS.decode(entry.payload, entry.serializer, entry.compression), ""
    except EntryError as error:
        return None, f"can't be read: {error}"


def _print(about: dict[str, Any]) -> None:
    created = about["created_at"].astimezone(UTC)
    born = about["born"]
    lines = {
        "Key": about["key"],
        "Task": about["task"],
        "Task id": about["task_id"] or "- (stored by task.cache)",
        "Stored": f"{_ago(about)} ({created:%Y-%m-%d %H:%M:%S} UTC by the computing machine)",
        "Expires in": f"{formatting.duration(about['expires_in_seconds'])} "
        f"(lifetime {formatting.duration(about['lifetime_seconds'])})",
        "Run time": formatting.duration(about["run_seconds"]),
        "Size": f"{formatting.size(about['size_bytes'])} ({about['size_bytes']:,} bytes)",
        "Stored as": ", ".join(filter(None, (about["serializer"], about["compression"]))),
        "Tags": ", ".join(about["tags"]) or "-",
        "Made from": ", ".join(about["made_from"]) or "-",
        "Ended by": ", ".join(about["marks"]),
        "Born at": f"number {born['sequence']} of log {born['incarnation']}",
    }
    for head, text in lines.items():
        click.echo(f"{head:<12} {formatting.printable(text)}")


def _ago(about: dict[str, Any]) -> str:
    return f"{formatting.duration(about['age_seconds'])} ago"
