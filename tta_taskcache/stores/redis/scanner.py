"""The scanner: reads all entries on Redis in batches, to list them, or to drop ended ones.

SCAN and UNLINK, never KEYS. In a cluster one primary after the other is read; a cursor is
``number@node``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...core.entries.entry import HEADER_BYTES, PEEK_BYTES, Entry, head_end, peek
from ...core.entries.marks import is_valid
from ..connections.connection import Link
from ..connections.nodes import primaries
from ..exchanges import log_state as log
from ..exchanges.key_layout import Layout
from ..exchanges.scripts import script
from ..protocol import Batch, Found, Scan
from ..sweep_commands import RecordSweep, Sweep, SweepProgress, Swept

#: Milliseconds that the progress of an abandoned sweep is kept.
REMEMBERED_MS = 3600 * 1000

_FIGURES = ("request", "visited", "total", "dropped", "freed")


class Scanner:
    """Reads the entries behind a link.

    Args:
        link: The link to Redis.
        layout: The names of its keys.
    """

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._at = layout

    def scan(self, scan: Scan) -> Batch:
        """Find the valid entries of one batch whose keys match a glob."""
        match = self._at.entry(scan.pattern)
        cursor, names, _ = self._batch(scan.cursor, match=match, count=scan.count, _type="STRING")
        heads = self._heads(names)
        found: list[Found] = []
        for name, (start, size, remaining) in heads.items():
            key = self._at.key(name)
            entry = peek(key, start, scan.secret) if key is not None else None
            if entry is not None and remaining > 0:
                found.append(Found(entry, size, remaining / 1000))
        valid = self._valid([item.entry for item in found])
        return Batch(cursor, [item for item in found if item.entry.key in valid])

    def sweep(self, sweep: Sweep) -> Swept:
        """Drop the ended entries of one batch."""
        cursor, names, total = self._batch(sweep.cursor, count=sweep.count)
        keys = {name: key for name in names if (key := self._at.key(name)) is not None}
        heads = self._heads(list(keys))
        entries = {name: peek(keys[name], head[0]) for name, head in heads.items()}
        valid = self._valid([entry for entry in entries.values() if entry is not None])
        ended = [name for name, entry in entries.items() if entry and entry.key not in valid]
        pipe = self._link.client.pipeline(transaction=False)
        for name in ended:
            pipe.eval(script("drop"), 1, name, heads[name][0][:HEADER_BYTES])
        dropped = [name for name, gone in zip(ended, pipe.execute(), strict=True) if gone]
        freed = sum(heads[name][1] for name in dropped)
        return Swept(cursor, len(names), total, len(dropped), freed)

    def request_sweep(self) -> bool:
        """Request a sweep; return whether the caller starts it."""
        client: Any = self._link.client
        return bool(client.eval(script("request_sweep"), 1, self._at.sweep, REMEMBERED_MS))

    def read_sweep(self) -> SweepProgress | None:
        """Read the progress of the sweep; None when there was none of late."""
        client: Any = self._link.client
        fields = {k.decode(): v.decode() for k, v in client.hgetall(self._at.sweep).items()}
        if not fields:
            return None
        figures = {name: int(fields.get(name, 0)) for name in _FIGURES}
        cursor = fields.get("cursor", "")
        return SweepProgress(**figures, cursor=cursor, is_over="active" not in fields)

    def record_sweep(self, note: RecordSweep) -> SweepProgress:
        """Record the progress of the sweep."""
        client: Any = self._link.client
        now = note.sweeping
        figures = (now.visited, now.total, now.dropped, now.freed)
        arguments = (REMEMBERED_MS, now.request, now.cursor, *figures)
        request = int(client.eval(script("record_sweep"), 1, self._at.sweep, *arguments))
        if request < 0:
            return replace(now, is_over=True)
        return now if request == now.request else SweepProgress(request=request)

    def _batch(self, cursor: str, **options: Any) -> tuple[str, list[bytes], int]:
        """Scan once; return the next cursor, the names, and the number of all keys."""
        nodes = primaries(self._link)
        number, _, at = cursor.partition("@")
        # In place of a node that is gone, the next one is read from its start.
        here = next((name for name in sorted(nodes) if name >= at), None)
        if here is None:
            return "", [], 0
        following = next((name for name in sorted(nodes) if name > here), None)
        after, names = nodes[here].scan(int(number or 0) if here == at else 0, **options)
        total = sum(node.dbsize() for node in nodes.values()) if "match" not in options else 0
        if after:
            return f"{after}@{here}", names, total
        return (f"0@{following}" if following is not None else ""), names, total

    def _heads(self, names: list[bytes]) -> dict[bytes, tuple[bytes, int, int]]:
        """Return the first bytes, the size and the remaining milliseconds of each string."""
        pipe = self._link.client.pipeline(transaction=False)
        for name in names:
            pipe.getrange(name, 0, PEEK_BYTES - 1)
            pipe.strlen(name)
            pipe.pttl(name)
        replies = pipe.execute(raise_on_error=False)
        self._read_whole(names, replies)
        heads: dict[bytes, tuple[bytes, int, int]] = {}
        for i, name in enumerate(names):
            start, size, remaining = replies[3 * i : 3 * i + 3]
            if isinstance(start, bytes):
                heads[name] = (start, size, remaining)
            elif "WRONGTYPE" not in str(start):  # another client's key, which is skipped
                raise start
        return heads

    def _read_whole(self, names: list[bytes], replies: list[Any]) -> None:
        """Read the heads that are longer than the first bytes, of entries with many tags."""
        pipe = self._link.client.pipeline(transaction=False)
        longer = []
        for i, name in enumerate(names):
            start = replies[3 * i]
            if isinstance(start, bytes) and (end := head_end(start)) > PEEK_BYTES:
                longer.append(3 * i)
                pipe.getrange(name, 0, end - 1)
        if longer:
            for at, whole in zip(longer, pipe.execute(raise_on_error=False), strict=True):
                replies[at] = whole

    def _valid(self, entries: list[Entry]) -> set[str]:
        """Return the keys of the entries that no invalidation has ended; none without a log."""
        marks = sorted({name for entry in entries for name in entry.marks})
        pipe = self._link.client.pipeline(transaction=False)
        pipe.hget(self._at.control, "bans")
        log.ask(pipe, self._at.control, "", marks, None)
        replies = pipe.execute()
        state = log.StateReader().read(replies, marks, None)
        if state is None:
            return set()
        bans = log.read_bans(replies.pop())
        return {e.key for e in entries if is_valid(e, state.marks, state.position, bans)}
