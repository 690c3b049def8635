"""Marks: the names that an invalidation sets in the log, and which of them end an entry.

An invalidation takes the next sequence number and sets marks to it. An entry is *born* at the
sequence read before its computation began; it is valid while no mark on it is higher (promises I1,
I2) and while the log's incarnation is the one it was born in (I5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from . import glob
from .entry import Entry, Position

EVERYTHING = "*"

#: The mark of a longer tag is its beginning and a digest: together longer than any other.
MAX_TAG, _SHOWN, _DIGEST = 96, 64, 16

#: Prefix of the marks of patterns: bans.
_BAN = "b:"


def of_task(task: str) -> str:
    """Return the mark that ends all entries of a task."""
    return f"t:{task}"


def of_key(key: str) -> str:
    """Return the mark that ends one entry."""
    return f"k:{key}"


def replaced(key: str) -> str:
    """Return the mark of a replaced entry: it ends copies in L1, and nothing in the store."""
    return f"r:{key}"


def of_tag(tag: str) -> str:
    """Return the mark that ends all entries with a tag; its length has a bound."""
    if len(tag) > MAX_TAG:
        digest = blake2b(tag.encode(errors="surrogatepass"), digest_size=_DIGEST).hexdigest()
        tag = f"{tag[:_SHOWN]}~{digest}"
    return f"g:{tag}"


def of_pattern(pattern: str) -> str:
    """Return the mark that ends all entries whose keys match a glob: a ban."""
    return f"{_BAN}{pattern}"


def of_call(task: str, key: str, tags: Iterable[str] = ()) -> tuple[str, ...]:
    """Return all marks that can end the entry of a call, besides bans."""
    return (EVERYTHING, of_task(task), of_key(key), *map(of_tag, tags))


def pattern_of(mark: str) -> str | None:
    """Return the glob of a ban; None for every other mark."""
    return mark.removeprefix(_BAN) if mark.startswith(_BAN) else None


def is_wide(mark: str) -> bool:
    """Whether a mark ends so many entries that freeing their memory is worth a sweep."""
    return mark == EVERYTHING or mark.startswith(("t:", _BAN))


@dataclass(frozen=True, slots=True)
class Ban:
    """A pattern whose entries were ended, and the sequence of its invalidation."""

    pattern: str
    sequence: int


def banned_at(key: str, bans: Iterable[Ban], after: int = 0) -> int:
    """Return the sequence of the newest ban on a key; 0 for none.

    Args:
        key: The key.
        bans: The bans, newest first.
        after: Sequence up to which bans don't matter.
    """
    for ban in bans:
        if ban.sequence <= after:
            break
        if glob.matches(ban.pattern, key):
            return ban.sequence
    return 0


def is_valid(
    entry: Entry,
    marks: Mapping[str, int],
    now: Position,
    bans: Iterable[Ban] = (),
    names: Iterable[str] = (),
) -> bool:
    """Whether no invalidation since the entry's birth concerns it (promises I1, I7).

    Args:
        entry: The entry.
        marks: Sequence numbers of the marks that are set, by name.
        now: The log's current position.
        bans: All bans, newest first.
        names: Marks that can end it beside its own: those of the call.
    """
    born = entry.born
    if born.incarnation != now.incarnation or born.sequence > now.sequence:
        return False  # born in a log that was lost, or in the part that a failover lost
    if not marks and not bans:
        return True  # nearly always: nothing is gone through
    if any(marks.get(name, 0) > born.sequence for name in chain(entry.marks, names)):
        return False
    return not banned_at(entry.key, bans, born.sequence)
