"""The index in Redis: plans that follow, load and add to a partition.

::

    ns:v:{partition}:records   hash: records by the keys of their entries
    ns:v:{partition}:uses      sorted set: these keys, by their last use
    ns:v:{partition}:changes   stream: the changed keys, by number
    ns:v:{partition}:state     hash: epoch, number of the newest change

The names of one partition share a slot of a cluster. A record whose entry has ended stays until it
is a candidate, falls out of the bound, or the partition expires: it is never trusted by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from ..cache.plan import Pause, Plan
from ..core.record import record
from ..core.semantic.index_record import IndexRecord, pack_record
from ..errors import StoreUnavailable
from ..stores.exchanges.scripts import script
from ..stores.protocol import ClientCall
from .partition_copy import Changes, PartitionCopy, taken
from .work import Computing

T = TypeVar("T")


#: Records that are applied in a millisecond or less.
FEW = 50

#: Seconds between two glances at a copy that another caller brings up to date, and most of them.
_PAUSE, _PAUSES = 0.002, 25


@record(kw_only=True)
class IndexBounds:
    """Bounds of what an index keeps and reads.

    Attributes:
        max_changes: Changes of a partition that are kept for followers.
        changes_at_once: Most changes of one poll.
        loaded_at_once: Records that one command loads, about.
        loading: Seconds for which one call loads: the rest is for the next.
    """

    max_changes: int = 4_096
    changes_at_once: int = 1_000
    loaded_at_once: int = 500
    loading: float = 0.05


BOUNDS = IndexBounds()


@record
class Index:
    """The index of one namespace. Its methods return plans.

    Attributes:
        namespace: Prefix of all keys in Redis; None without Redis: copies hold all there is.
        secret: Key of the records' signatures.
        clock: Returns monotonic seconds.
        bounds: The bounds.
    """

    namespace: str | None
    secret: bytes = field(repr=False)
    clock: Callable[[], float]
    bounds: IndexBounds = BOUNDS

    def follow(self, copy: PartitionCopy, staleness: float) -> Plan[None]:
        """Bring a copy up to date, unless that was done within so many seconds.

        Raises:
            StoreUnavailable: The index can't be read; the copy is as old as it was.
        """
        asked_at = now = self.clock()
        if self.namespace is None:
            self._withdraw(copy, now)
            return
        claim = None
        for _ in range(_PAUSES):
            is_recent = now - copy.polled_at <= staleness or copy.polled_at >= asked_at
            if is_recent and copy.cursor is None:
                return
            claim = copy.claim(now)
            if claim is not None or copy.cursor is not None:
                break
            yield Pause(_PAUSE)  # another caller is at it
            now = self.clock()
        if claim is None:
            return
        is_whole = False
        try:
            yield from self._poll(copy, now)
            yield from self._load(copy, now)
            is_whole = True
        except GeneratorExit:  # the caller is gone, between two steps
            is_whole = True
            raise
        except StoreUnavailable:
            is_whole = copy.cursor is None  # a scan that broke off starts over
            raise
        finally:
            copy.yield_claim(claim, is_whole=is_whole)

    def _withdraw(self, copy: PartitionCopy, now: float) -> None:
        """Remove the records of ended entries from the only copy there is."""
        claim = copy.claim(now) if copy.withdrawn else None
        if claim is not None:
            is_whole = False
            try:
                for key, _ in taken(copy.withdrawn):
                    copy.remove(key)
                is_whole = True
            finally:
                copy.yield_claim(claim, is_whole=is_whole)

    def _poll(self, copy: PartitionCopy, now: float) -> Plan[None]:
        while True:
            used = [key for key, _ in taken(copy.used)]
            # With its age: a record that was added again since then stays.
            ended = [(key, int((now - at) * 1000)) for key, at in taken(copy.withdrawn)]
            at_once = self.bounds.changes_at_once
            arguments = (copy.number, at_once, len(used), *used, *chain.from_iterable(ended))
            reply: Any = yield from self._eval(script("follow_index"), copy.partition, arguments)
            changes = _changes(reply)
            is_followed = yield from _apply(copy, changes.records, partial(copy.advance, changes))
            if not is_followed:
                copy.start_over()
                # The scan begins here: what changes from now on, the next poll reads.
                copy.epoch, copy.number, copy.cursor = changes.epoch, changes.number, 0
                copy.polled_at = now
                return
            copy.polled_at = now
            if copy.number >= changes.number:
                return

    def _load(self, copy: PartitionCopy, since: float) -> Plan[None]:
        while copy.cursor is not None:
            name, cursor = self._names(copy.partition)[0], copy.cursor

            def scan(client: Any, name: str = name, cursor: int = cursor) -> Any:
                return client.hscan(name, cursor, count=self.bounds.loaded_at_once)

            done: Any = yield ClientCall(scan)
            following, found = done
            records = [(_text(key), record) for key, record in found.items()]
            yield from _apply(copy, records, partial(copy.put_all, records))
            copy.cursor = int(following) or None
            if self.clock() - since > self.bounds.loading:
                return

    def add(
        self, copy: PartitionCopy, record: IndexRecord, max_entries: int, lifetime: float
    ) -> Plan[None]:
        """Add the record of a stored call, for all processes.

        Raises:
            StoreUnavailable: The index can't be reached.
        """
        packed = pack_record(copy.partition, record, self.secret)
        if self.namespace is None:
            claim = copy.claim(self.clock())
            if claim is not None:  # else another thread adds: this call stays without a record
                is_whole = False
                try:
                    records = [(record.key, packed)]
                    yield from _apply(copy, records, partial(copy.put_all, records))
                    copy.keep(max_entries)
                    is_whole = True
                finally:
                    copy.yield_claim(claim, is_whole=is_whole)
            return
        milli = max(1, int(lifetime * 1000))
        kept = self.bounds.max_changes
        arguments = (record.key, packed, max_entries, milli, uuid.uuid4().hex, kept)
        yield from self._eval(script("add_to_index"), copy.partition, arguments)
        # Its own calls are near at once, also to callers that don't wait for the next poll.
        self._put(copy, record.key, packed)
        copy.polled_at = float("-inf")

    def _put(self, copy: PartitionCopy, key: str, packed: bytes) -> None:
        claim = None if copy.is_large else copy.claim(self.clock())
        if claim is not None:
            is_whole = False
            try:
                copy.put_all([(key, packed)])
                is_whole = True
            finally:
                copy.yield_claim(claim, is_whole=is_whole)

    def _names(self, partition: str) -> tuple[str, ...]:
        start = f"{self.namespace}:v:{{{partition}}}"
        return tuple(f"{start}:{what}" for what in ("records", "uses", "changes", "state"))

    def _eval(self, text: str, partition: str, arguments: tuple[Any, ...]) -> Plan[Any]:
        names = self._names(partition)
        reply: Any = yield ClientCall(
            lambda client: client.eval(text, len(names), *names, *arguments)
        )
        return reply


def _apply(copy: PartitionCopy, records: Sequence[object], apply: Callable[[], T]) -> Plan[T]:
    """Apply records to a copy; in a thread if it may take long and there is a loop to keep free."""
    if len(records) <= FEW and not copy.is_large:
        return apply()
    applied: T = yield Computing(apply)
    return applied


def _changes(reply: Any) -> Changes:
    epoch, number, first, last, flat = reply
    pairs = zip(flat[::2], flat[1::2], strict=True)
    records = [(_text(key), record or None) for key, record in pairs]
    return Changes(epoch, int(number), int(first), int(last), records)


def _text(key: bytes) -> str:
    return key.decode(errors="replace")
