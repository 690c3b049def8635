"""Marks: what an invalidation leaves in the log, and which of them end an entry.

An invalidation takes the next sequence number and sets marks to it. An entry is *born* at the
sequence read before its computation began; it is valid while no mark on it is higher (promises I1,
I2) and while the log's incarnation is the one it was born in (I5).
"""

from __future__ import annotations

from collections.abc import Mapping

from .entry import Entry, Position

EVERYTHING = "*"


def of_task(task: str) -> str:
    """The mark that ends all entries of a task."""
    return f"t:{task}"


def of_key(key: str) -> str:
    """The mark that ends one entry."""
    return f"k:{key}"


def replaced(key: str) -> str:
    """What tells memories elsewhere that an entry was replaced. It ends nothing in the store."""
    return f"r:{key}"


def of_call(task: str, key: str) -> tuple[str, ...]:
    """All marks that can end the entry of a call."""
    return (EVERYTHING, of_task(task), of_key(key))


def is_valid(entry: Entry, marks: Mapping[str, int], now: Position) -> bool:
    """Whether no invalidation since the entry's birth concerns it.

    Args:
        entry: The entry.
        marks: Sequence numbers by mark name; absent means never set.
        now: The log's current position.
    """
    born = entry.born
    if born.incarnation != now.incarnation or born.sequence > now.sequence:
        return False  # of a log that was lost, or of its part that was lost in a failover
    return all(marks.get(name, 0) <= born.sequence for name in entry.marks)
