"""Marks: the names that an invalidation sets in the log, and which of them end an entry.

An invalidation takes the next sequence number and sets marks to it. An entry is *born* at the
sequence read before its computation began; it is valid while no mark on it is higher (promises I1,
I2) and while the log's incarnation is the one it was born in (I5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import chain

from ..record import record
from . import glob
from .entry import Entry, Position

EVERYTHING = "*"

#: The mark of a longer tag is its beginning and a digest: together longer than any other.
MAX_TAG, _SHOWN, _DIGEST = 96, 64, 16

#: Prefix of the marks of patterns: bans.
_BAN = "b:"

#: Prefix of a mark that makes entries stale instead of ending them (promise D2).
_SOFT = "~"

#: Prefix of the marks of single keys: those of other keys name what an entry was made from.
_KEY = "k:"


def of_task(task: str) -> str:
    """Return the mark that ends all entries of a task."""
    return f"t:{task}"


def of_key(key: str) -> str:
    """Return the mark that ends one entry."""
    return f"{_KEY}{key}"


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


def is_of_task(mark: str) -> bool:
    """Whether a mark ends all entries of a task."""
    return mark.startswith("t:")


def soft(mark: str) -> str:
    """Return the mark that makes stale what this one ends."""
    return f"{_SOFT}{mark}"


def is_soft(mark: str) -> bool:
    """Whether a mark makes entries stale instead of ending them."""
    return mark.startswith(_SOFT)


def of_call(task: str, key: str, tags: Iterable[str] = ()) -> tuple[str, ...]:
    """Return all marks that can end the entry of a call, besides bans."""
    own = EVERYTHING, f"t:{task}", f"{_KEY}{key}"
    return (*own, *map(of_tag, tags)) if tags else own


def pattern_of(mark: str) -> str | None:
    """Return the glob of a ban; None for every other mark."""
    return mark.removeprefix(_BAN) if mark.startswith(_BAN) else None


def is_ban(mark: str) -> bool:
    """Whether a mark is that of a pattern, soft or not."""
    return mark.removeprefix(_SOFT).startswith(_BAN)


def other_keys(entry: Entry) -> list[str]:
    """Return the keys of the entries that an entry was made from (promise D1)."""
    keys = (m.removeprefix(_KEY) for m in entry.marks if m.startswith(_KEY))
    return [key for key in keys if key != entry.key]


def is_wide(mark: str) -> bool:
    """Whether a mark ends so many entries that freeing their memory is worth a sweep."""
    return mark == EVERYTHING or mark.startswith(("t:", _BAN))


@record
class Ban:
    """A pattern whose entries were ended, and the sequence of its invalidation.

    ``is_soft``: they were made stale instead.
    """

    pattern: str
    sequence: int
    is_soft: bool = False


def with_bans(bans: tuple[Ban, ...], names: Iterable[str], sequence: int) -> tuple[Ban, ...]:
    """Return bans, newest first, with those that an invalidation adds: a newer one takes over."""
    new = tuple(
        Ban(name.removeprefix(_SOFT).removeprefix(_BAN), sequence, is_soft(name))
        for name in names
        if is_ban(name)
    )
    if not new:
        return bans

    def is_replaced(ban: Ban) -> bool:
        return any(n.pattern == ban.pattern and (ban.is_soft or not n.is_soft) for n in new)

    return (*new, *(ban for ban in bans if not is_replaced(ban)))


def banned_at(key: str, bans: Iterable[Ban], after: int = 0, *, is_soft: bool = False) -> int:
    """Return the sequence of the newest ban on a key; 0 for none.

    Args:
        key: The key.
        bans: The bans, newest first.
        after: Sequence up to which bans don't matter.
        is_soft: Whether soft bans are meant, instead of the others.
    """
    for ban in bans:
        if ban.sequence <= after:
            break
        if ban.is_soft is is_soft and glob.matches(ban.pattern, key):
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
    return not _is_banned(entry, bans)


def is_made_stale(
    entry: Entry, marks: Mapping[str, int], bans: Iterable[Ban] = (), names: Iterable[str] = ()
) -> bool:
    """Whether a soft invalidation since the entry's birth concerns it (promise D2).

    Args:
        entry: The entry.
        marks: As of ``is_valid``.
        bans: As of ``is_valid``.
        names: As of ``is_valid``.
    """
    since = entry.born.sequence
    if any(marks.get(soft(name), 0) > since for name in chain(entry.marks, names)):
        return True
    return _is_banned(entry, bans, is_soft=True)


def _is_banned(entry: Entry, bans: Iterable[Ban], *, is_soft: bool = False) -> bool:
    """Whether a ban since its birth matches the entry, or one that it was made from."""
    since = entry.born.sequence
    newer = [ban for ban in bans if ban.sequence > since]
    if not newer:
        return False
    keys = (entry.key, *other_keys(entry))
    return any(banned_at(key, newer, since, is_soft=is_soft) for key in keys)
