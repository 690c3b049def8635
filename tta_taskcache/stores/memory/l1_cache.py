"""L1: entries in this process's memory, with the bound on their staleness (promises I1, R3).

Beside the entries, L1 has a copy of the log's newest marks, read by polling. It answers only while
the last poll is at most ``max_staleness`` seconds old; after a gap in the log, a new incarnation or
a sequence that went back, it drops everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...core.entries.entry import Entry, Position
from ...core.entries.marks import (
    Ban,
    banned_at,
    is_made_stale,
    is_soft,
    is_valid,
    replaced,
    with_bans,
)
from ...core.record import record
from ..protocol import Record
from .bounded_map import BoundedMap

#: Most marks in the copy: with more, L1 drops everything and starts over.
MAX_MARKS = 10_000

#: Likewise of pattern bans, each of which is matched with every entry older than it.
MAX_BANS = 1_000


@dataclass(slots=True)
class L1Entry:
    """An entry in L1. Nothing but ``hits`` changes.

    Attributes:
        entry: The entry.
        deadline: When it expires (monotonic seconds of this process).
        checked_at: Sequence up to which it was checked against all marks when it was put here.
        checked: Names of the marks that it was checked against.
        hits: As the map wants it.
        as_of: Position of the log at which it was found to be valid.
    """

    entry: Entry
    deadline: float
    checked_at: int
    checked: tuple[str, ...]
    hits: int = 0
    as_of: Position | None = None

    @property
    def size(self) -> int:
        """Approximate size in bytes."""
        return self.entry.size


@record
class _View:
    """The copy of the log, replaced whole, so that no thread sees half of it.

    ``bans``, newest first, are those since ``floor``; all in force when ``bans_complete``.
    ``has_soft``: whether any mark or ban makes entries stale only.
    """

    position: Position
    floor: int
    polled_at: float
    marks: dict[str, int]
    bans: tuple[Ban, ...] = ()
    bans_complete: bool = False
    has_soft: bool = False


class L1Cache:
    """L1 of one process. Its methods take the time as an argument and never block.

    Args:
        max_entries: Bound on entries; 0 turns L1 off.
        max_bytes: Bound on their bytes.
        max_staleness: Δ: seconds for which a poll of the log is trusted; 0 is strict.
        max_marks: Bound on marks in the copy of the log.
        max_bans: Bound on bans in the copy of the log.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: int,
        max_staleness: float,
        *,
        max_marks: int = MAX_MARKS,
        max_bans: int = MAX_BANS,
    ) -> None:
        self.max_staleness = max_staleness
        self._max_marks = max_marks
        self._max_bans = max_bans
        self.entries: BoundedMap[L1Entry] = BoundedMap(max_entries, max_bytes)
        self._view: _View | None = None

    @property
    def position(self) -> Position | None:
        """The log's position up to which this process has read."""
        return self._view.position if self._view else None

    def is_trusted(self, now: float) -> bool:
        """Whether the last poll is recent enough to answer from here."""
        view = self._view
        return view is not None and now - view.polled_at <= self.max_staleness

    def lag(self, now: float) -> float:
        """Return the most seconds for which it may have answered after invalidations read now."""
        view = self._view
        since = view.polled_at if view is not None else -math.inf
        return 0.0 if math.isinf(since) else min(now - since, self.max_staleness)

    def find(self, key: str, now: float, names: Sequence[str] = ()) -> L1Entry | None:
        """Return the entry, if it is within its limits and no mark read so far ends it.

        Args:
            key: The key.
            now: The time.
            names: The marks of the call: one that the entry was never checked against may have been
                set before this copy begins (promise I7).
        """
        held, view = self.entries.get(key), self._view
        if held is None or view is None or not _covers(held.checked, names):
            return None
        born, position = held.entry.born, view.position
        if (
            held.deadline > now
            and held.checked_at >= view.floor
            and not (view.marks or view.bans)
            and born.sequence <= position.sequence
            and born.incarnation == position.incarnation
        ):
            held.as_of = position  # nothing was ended since this copy begins
            return held
        current = (
            held.deadline > now
            and held.checked_at >= view.floor
            and (not view.marks or held.checked_at >= view.marks.get(replaced(key), 0))
            # Older bans than the floor were checked before it was put here.
            and is_valid(held.entry, view.marks, view.position, view.bans, names)
        )
        # What a soft invalidation concerns is judged by L2's reply, which has all marks.
        if not current or (
            view.has_soft and is_made_stale(held.entry, view.marks, view.bans, names)
        ):
            self.entries.drop(key)
            return None
        held.as_of = view.position
        return held

    def put(
        self, entry: Entry, deadline: float, checked_at: int, names: Sequence[str] = ()
    ) -> None:
        """Keep an entry. One that a mark already ends is kept, too, and never found.

        Args:
            entry: The entry.
            deadline: When it expires.
            checked_at: Sequence up to which it was checked against marks.
            names: The marks that it was checked against, beside its own.
        """
        if self.entries.max_entries and self._view is not None:
            # Nearly always the entry's own: then they take no memory of their own.
            checked = entry.marks
            if not _covers(checked, names):
                checked = (*checked, *names)
            self.entries.put(entry.key, L1Entry(entry, deadline, checked_at, checked))

    def marks_since(self, born: Position, at: Position) -> Mapping[str, int] | None:
        """Return all marks that were set since a position; None when this copy may lack one.

        Args:
            born: The position.
            at: Where the log is: the copy has to be as new.
        """
        view = self._view
        if view is None or not at.precedes(view.position):
            return None
        is_covered = born.incarnation == at.incarnation and view.floor <= born.sequence
        return view.marks if is_covered else None

    def bans(self, at: Position, newest: int) -> tuple[Ban, ...] | None:
        """Return all pattern bans, newest first; None when this copy may lack one.

        Args:
            at: The log's position.
            newest: Sequence of the newest ban; 0 when there is none.
        """
        if not newest:
            return ()
        view = self._view
        if view is None or not view.bans_complete or view.position.incarnation != at.incarnation:
            return None
        return view.bans if view.position.sequence >= newest else None

    def banned_at(self, key: str) -> int:
        """Return the sequence of the newest known ban on a key; 0 for none."""
        view = self._view
        return banned_at(key, view.bans) if view is not None else 0

    def add_bans(self, bans: Sequence[Ban], at: Position) -> None:
        """Add all bans, as of a position."""
        view = self._view
        # A newer view may have seen a ban that these lack.
        if view is not None and view.position.precedes(at):
            has_soft = view.has_soft or any(ban.is_soft for ban in bans)
            self._view = replace(view, bans=tuple(bans), bans_complete=True, has_soft=has_soft)

    def require_poll(self) -> None:
        """Require a poll before the next answer: this process has just invalidated entries."""
        if self._view is not None:
            self._view = replace(self._view, polled_at=-math.inf)

    def advance(
        self,
        position: Position | None,
        records: Sequence[Record] | None,
        asked_at: float,
        since: Position | None = None,
    ) -> None:
        """Advance the copy by the reply to a poll.

        Args:
            position: The log's position; None when the log was lost.
            records: The records since then; None for a gap or a first poll.
            asked_at: When the poll was sent, from which its trust counts.
            since: The position that the poll was sent with; None for ``self.position``.
        """
        if position is None:
            self._view = None
            self.entries.clear()
            return
        view = self._view
        # Threads poll at once: another's reply may have changed the view since this poll was sent.
        if (
            view is None
            or records is None
            or not view.position.precedes(position)
            or (since is not None and not since.precedes(view.position))
        ):
            self._restart(position, asked_at)
            return
        marks, bans, has_soft = view.marks, view.bans, view.has_soft
        if records:
            marks = dict(marks)
            for record in records:
                marks.update(dict.fromkeys(record.marks, record.sequence))
                bans = _with_bans(bans, record)
                has_soft = has_soft or any(map(is_soft, record.marks))
        if len(marks) > self._max_marks or len(bans) > self._max_bans:
            self._restart(position, asked_at)
            return
        self._view = _View(
            position, view.floor, asked_at, marks, bans, view.bans_complete, has_soft
        )

    def _restart(self, position: Position, asked_at: float) -> None:
        # Entries that another thread still adds were checked before the floor: never found.
        self._view = _View(position, position.sequence, asked_at, {})
        self.entries.clear()


def _covers(checked: Sequence[str], names: Sequence[str]) -> bool:
    # Nearly always they are the same: comparing them is quicker than searching each.
    return checked == names or all(name in checked for name in names)


def _with_bans(bans: tuple[Ban, ...], record: Record) -> tuple[Ban, ...]:
    if bans and bans[0].sequence >= record.sequence:
        return bans  # a complete copy may be ahead of the records
    return with_bans(bans, record.marks, record.sequence)
