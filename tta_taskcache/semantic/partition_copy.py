"""A process's copy of one partition of the index: its rows, and how far it follows the changes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from weakref import WeakSet

from ..core.record import record
from ..core.semantic.index_record import unpack_record
from .vector_rows import Candidate, VectorRows
from .vectors import Array, unpacked

#: Bytes of the copies that a process keeps: the least recently used are dropped, never the last.
MAX_BYTES = 256 * 1024 * 1024

#: Most keys of each kind that are noted until the next poll.
MAX_NOTED = 256

#: Rows of a large copy.
LARGE = 5_000

#: Seconds after which a change of a copy must have been interrupted.
MAX_CHANGE = 5.0


@record
class Changes:
    """The reply to a poll of a partition's changes.

    Attributes:
        epoch: Identity of the partition's index: a new one when it was lost.
        number: Number of its newest change.
        first: Number of the first change of the reply; 0 for none.
        last: Number of the last change of the reply.
        records: Changed keys, each with its record; None where it was withdrawn.
    """

    epoch: bytes
    number: int
    first: int
    last: int
    records: Sequence[tuple[str, bytes | None]]


def taken(noted: dict[str, float]) -> list[tuple[str, float]]:
    """Empty a dict that other threads add to, and return what was in it."""
    taken = []
    while noted:
        try:
            taken.append(noted.popitem())
        except KeyError:  # another thread takes, too
            break
    return taken


class PartitionCopy:
    """A copy of a partition. Threads may search it while one of them changes it.

    Args:
        partition: The partition.
        secret: What signed its records.
    """

    def __init__(self, partition: str, secret: bytes = b"") -> None:
        self.partition = partition
        self._secret = secret
        self._claims: dict[str, tuple[object, float]] = {}
        #: Keys that have answered others, and those whose entries have ended, by when (monotonic
        #: seconds): the next poll reports them.
        self.used: dict[str, float] = {}
        self.withdrawn: dict[str, float] = {}
        self.start_over()

    def start_over(self) -> None:
        """Forget everything."""
        #: Rows by the number of their dimensions: an embedder may have changed.
        self._rows: dict[int, VectorRows] = {}
        self.epoch = b""
        self.number = 0
        #: Cursor of the scan that loads it; None when all is loaded.
        self.cursor: int | None = None
        self.polled_at = float("-inf")

    def __len__(self) -> int:
        return sum(len(rows) for rows in list(self._rows.values()))

    @property
    def is_large(self) -> bool:
        """Whether a search takes a millisecond or more, and a change may reorder the rows."""
        return len(self) >= LARGE

    @property
    def size(self) -> int:
        """Approximate bytes in memory."""
        return sum(rows.size for rows in list(self._rows.values()))

    def claim(self, now: float) -> object | None:
        """Take the right to change the copy; None when another thread has it.

        Without a lock, which an interruption or a fork could leave locked (promise F3). A claim
        that is left behind lapses, and the copy starts over.
        """
        me = object()
        held, since = self._claims.setdefault("", (me, now))
        if held is me:
            return me
        if now - since > MAX_CHANGE:
            self.start_over()
            self._claims.pop("", None)
        return None

    def yield_claim(self, claim: object, *, is_whole: bool) -> None:
        """Give the right back; after an interruption the copy starts over."""
        if not is_whole:
            self.start_over()
        if self._claims.get("", (None, 0.0))[0] is claim:
            self._claims.pop("", None)

    def advance(self, changes: Changes) -> bool:
        """Apply changes; return False when the copy has to be loaded anew first."""
        if changes.epoch != self.epoch:
            return False
        missed = changes.number - self.number
        if missed < 0 or (missed > 0 and changes.first != self.number + 1):
            return False
        self.put_all(changes.records)
        self.number = changes.last
        return True

    def put_all(self, records: Iterable[tuple[str, bytes | None]]) -> None:
        """Put records into the copy; what isn't a record of this partition is left out."""
        for key, packed in records:
            record = unpack_record(self.partition, key, packed, self._secret) if packed else None
            vector = unpacked(record.vector) if record is not None else None
            if record is None or vector is None:
                self.remove(key)
            else:
                self.put(key, record.text, vector)

    def put(self, key: str, text: str, vector: Array) -> None:
        """Put a call into the copy."""
        for dimensions, rows in list(self._rows.items()):
            if dimensions != len(vector):
                rows.remove(key)
        rows = self._rows.setdefault(len(vector), VectorRows(len(vector)))
        rows.put(key, text, vector)

    def remove(self, key: str) -> None:
        """Remove a call from the copy."""
        for rows in list(self._rows.values()):
            rows.remove(key)

    def nearest(self, vector: Array, most: int, least: float) -> list[Candidate]:
        """Return the calls nearest to a vector, nearest first (see ``VectorRows.nearest``)."""
        rows = self._rows.get(len(vector))
        return [] if rows is None else rows.nearest(vector, most, least)

    def vector_of(self, key: str, text: str) -> Array | None:
        """Return the vector of a call with this text; None when the copy hasn't it."""
        for rows in list(self._rows.values()):
            vector = rows.vector_of(key, text)
            if vector is not None:
                return vector
        return None

    def keep(self, most: int) -> None:
        """Keep so many calls at most, the most recently used."""
        for key, _ in taken(self.used):
            for rows in list(self._rows.values()):
                rows.touch(key)
        while len(self) > most:
            max(self._rows.values(), key=len).drop_oldest()

    def note_use(self, key: str, now: float) -> None:
        """Remember that a call has answered another, to tell the index."""
        if len(self.used) < MAX_NOTED:
            self.used[key] = now

    def note_end(self, key: str, now: float) -> None:
        """Remember that a call's entry has ended, to have its record withdrawn."""
        if len(self.withdrawn) < MAX_NOTED:
            self.withdrawn[key] = now


class Copies:
    """The copies of a process, bounded by bytes."""

    def __init__(self, secret: bytes = b"", max_bytes: int = MAX_BYTES) -> None:
        self._secret = secret
        self._max_bytes = max_bytes
        self._copies: OrderedDict[str, PartitionCopy] = OrderedDict()
        #: Sizes at the last look, and their sum: partitions may be many, and looks are.
        self._sizes: dict[str, int] = {}
        self._total = 0
        _all.add(self)

    def of(self, partition: str) -> PartitionCopy:
        """Return the copy of a partition, an empty one if there is none."""
        found = self._copies.get(partition)
        if found is None:
            found = self._copies.setdefault(partition, PartitionCopy(partition, self._secret))
        try:
            self._copies.move_to_end(partition)
        except KeyError:  # another thread has dropped it
            self._copies[partition] = found
        return found

    def __len__(self) -> int:
        return len(self._copies)

    @property
    def size(self) -> int:
        """Approximate bytes in memory."""
        return sum(copy.size + _EMPTY for copy in list(self._copies.values()))

    def shrink(self, changed: PartitionCopy) -> None:
        """Drop the least recently used copies beyond the bound, never the last one.

        Args:
            changed: The copy that may have grown.
        """
        size = changed.size + _EMPTY
        self._total += size - self._sizes.get(changed.partition, 0)
        self._sizes[changed.partition] = size
        if self._total <= self._max_bytes:
            return
        self._total = self.size  # exactly, as other threads add up, too
        while self._total > self._max_bytes and len(self._copies) > 1:
            try:
                partition, _ = self._copies.popitem(last=False)
            except KeyError:  # other threads drop, too
                return
            self._total -= self._sizes.pop(partition, 0)

    def forget(self) -> None:
        """Drop all of them."""
        self._copies, self._sizes, self._total = OrderedDict(), {}, 0


#: Bytes of a copy without rows.
_EMPTY = 2_000

_all: WeakSet[Copies] = WeakSet()


def _forget_in_child() -> None:
    # A thread of the parent may have been changing one of them.
    for copies in list(_all):
        copies.forget()


os.register_at_fork(after_in_child=_forget_in_child)
