"""Neighbours: the plan that finds a stored call with nearly the same text, and judges it.

Its entry is read as any entry is, by the reader and under its own key: an entry that has ended, or
that was made by somebody without the secret, answers nobody, whatever the index says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ..cache.engine.parts import Parts
from ..cache.engine.reader import Reader
from ..cache.outcome import Call, Hit
from ..cache.plan import Plan
from ..core.entries.decide import Verdict
from ..core.interruption import handled_now, raise_interruption
from ..core.record import record
from ..core.semantic.guard import differing
from ..core.semantic.index_record import IndexRecord
from ..core.semantic.partition import SemanticCall
from ..core.semantic.semantic_policy import Semantic
from ..errors import StoreUnavailable
from .index import BOUNDS, Index, IndexBounds
from .partition_copy import Copies, PartitionCopy
from .vector_rows import Candidate
from .vectors import packed, unpacked
from .work import CallingUser, Computing

#: Most candidates of a call, and most of their entries that are read.
CANDIDATES, READS = 8, 4

#: How far below the threshold a near miss is measured.
NEAR_MISS = 0.2

#: Verdicts on an entry that will answer nobody any more: its record leaves the index.
_GONE = frozenset(verdict.value for verdict in (Verdict.ABSENT, Verdict.INVALIDATED))

BELOW = "below-threshold"

#: In front of what a user's guard says, and most characters of both.
_GUARD = "guard: "
MAX_REASON = 200

#: What stands for the reply of a user's function that has failed.
_FAILED = "failed"


@record(kw_only=True)
class SemanticQuery:
    """What a call is compared by.

    Attributes:
        call: The call, whose exact key has no entry.
        about: Its partition and text.
        vector: Its text's vector, as it is sent and stored.
        threshold: Least similarity, the task's or the call's.
    """

    call: Call
    about: SemanticCall
    vector: bytes
    threshold: float

    @property
    def semantic(self) -> Semantic:
        """The task's semantic keys."""
        semantic = self.call.policy.semantic
        assert semantic is not None  # noqa: S101 - only such calls are compared
        return semantic


@record
class JudgedNeighbour:
    """A near call, and why it doesn't answer.

    Attributes:
        key: Its key.
        text: Its text.
        similarity: Its cosine similarity.
        reason: Why it doesn't answer: ``"below-threshold"``, a word of the guard (``"guard: …"``
            for one of the user's), ``"equal"``, ``"too-old"``, ``"failure"``, or the verdict on
            its entry; empty for the one that does.
    """

    key: str
    text: str
    similarity: float
    reason: str

    @property
    def outcome(self) -> str:
        """The word under which the reason is counted."""
        return self.reason.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.similarity:.4f} {self.reason or 'answers'}: {self.text!r}"


@record
class NeighbourSearch:
    """What a search has found.

    Attributes:
        hit: The neighbour's result; None when none answers.
        judged: The nearest calls that were judged, nearest first.
        read_at: When the entry of the one that answers was read (monotonic seconds).
    """

    hit: Hit | None = None
    judged: tuple[JudgedNeighbour, ...] = ()
    read_at: float = 0.0


@record
class Neighbours:
    """Finds and adds neighbours. Its methods return plans.

    Attributes:
        parts: The engine's parts.
        reader: The engine's reader.
        index: The index.
        copies: This process's copies of its partitions.
    """

    parts: Parts
    reader: Reader
    index: Index
    copies: Copies

    def find(self, query: SemanticQuery, floor: float | None = None) -> Plan[NeighbourSearch]:
        """Find the nearest stored call that answers. Never raises for a fault of the store.

        Args:
            query: The call.
            floor: Least similarity of the calls that are judged; None for a little less than the
                threshold.
        """
        vector = unpacked(query.vector)
        if vector is None:
            return NeighbourSearch()
        copy = self.copies.of(query.about.partition)
        try:
            yield from self.index.follow(copy, self.parts.l1.max_staleness)
        except StoreUnavailable:
            return NeighbourSearch()
        self.copies.shrink(copy)
        least = query.threshold - NEAR_MISS if floor is None else floor
        judged: list[JudgedNeighbour] = []
        reads, read_at = 0, 0.0
        search = partial(copy.nearest, vector, CANDIDATES, least)
        candidates: list[Candidate] = (yield Computing(search)) if copy.is_large else search()
        for candidate in candidates:
            reason, hit = (yield from self._veto(query, candidate)), None
            if not reason:
                if reads == READS:
                    break
                reads += 1
                read_at = self.parts.clock()
                reason, hit = yield from self._read(query, candidate)
                if reason in _GONE:
                    yield from self._note_end(query, copy, candidate, reason)
            near = candidate.similarity
            judged.append(JudgedNeighbour(candidate.key, candidate.text, near, reason))
            if hit is not None:
                copy.note_use(candidate.key, self.parts.clock())
                return NeighbourSearch(hit, tuple(judged), read_at)
        return NeighbourSearch(None, tuple(judged))

    def _note_end(
        self, query: SemanticQuery, copy: PartitionCopy, candidate: Candidate, reason: str
    ) -> Plan[None]:
        """Have the record of an ended entry withdrawn, if no other call can be answered by it."""
        now = self.parts.clock()
        if reason == Verdict.INVALIDATED and query.call.tags:
            # It may be the asking call's tags alone that end it.
            bare = replace(query.call, key=candidate.key, verify=False, tags=(), max_age=None)
            found = yield from self.reader.find(bare)
            if isinstance(found, Hit) or found.reason not in _GONE:
                return
        copy.note_end(candidate.key, now)

    def _veto(self, query: SemanticQuery, candidate: Candidate) -> Plan[str]:
        """Return the reason why a candidate's entry isn't even read; empty for none."""
        semantic, texts = query.semantic, (query.about.text, candidate.text)
        if candidate.key == query.call.key:
            return "itself"
        if candidate.similarity < query.threshold:
            return BELOW
        if semantic.guard is differing:  # quick, and never fails
            reason = differing(*texts)
        else:
            said = yield from self._called(semantic.guard, texts)
            # It is counted by the word in front: what users say has no bound.
            reason = f"{_GUARD}{said}"[:MAX_REASON] if said else ""
        if reason:
            return reason
        if semantic.equal is None:
            return ""
        is_equal = yield from self._called(semantic.equal, texts)
        if is_equal == _FAILED:
            return "equal: failed"
        return "" if is_equal else "equal"

    def _called(self, judge: Callable[[str, str], Any] | None, texts: tuple[str, str]) -> Plan[Any]:
        """Call a function of the user's; its failure is a veto."""
        if judge is None:
            return ""
        handled = handled_now()
        try:
            return (yield CallingUser(judge, texts))
        except Exception as error:  # noqa: BLE001 - no call fails for it (promise F1)
            raise_interruption(error, self.parts.codecs.interruptions, handled)
            return _FAILED

    def _read(self, query: SemanticQuery, candidate: Candidate) -> Plan[tuple[str, Hit | None]]:
        call = replace(query.call, key=candidate.key, verify=False)
        found = yield from self.reader.find(call)
        if not isinstance(found, Hit):
            return found.reason, None
        if found.verdict.is_stale:
            return "stale", None
        if found.entry.is_failure:
            return "failure", None
        if found.age > query.semantic.oldest:
            return "too-old", None
        hit = replace(found, similarity=candidate.similarity, matched=candidate.text)
        return "", hit

    def known_vector(self, about: SemanticCall, key: str) -> bytes | None:
        """Return the vector of a call that is in this process's copy of the index; else None."""
        vector = self.copies.of(about.partition).vector_of(key, about.text)
        return None if vector is None else packed(vector.tolist())

    def add(self, query: SemanticQuery, lifetime: float) -> Plan[None]:
        """Add a call whose result was just stored to the index.

        Args:
            query: The call.
            lifetime: Seconds that its entry is stored.

        Raises:
            StoreUnavailable: The index can't be reached: the call has only its exact key.
        """
        copy = self.copies.of(query.about.partition)
        record = IndexRecord(query.call.key, query.about.text, query.vector)
        yield from self.index.add(copy, record, query.semantic.max_entries, lifetime)
        self.copies.shrink(copy)


def make_neighbours(
    parts: Parts, reader: Reader, namespace: str | None, bounds: IndexBounds = BOUNDS
) -> Neighbours:
    """Compose them.

    Args:
        parts: The engine's parts.
        reader: The engine's reader.
        namespace: Prefix of all keys in Redis; None without Redis.
        bounds: The bounds of the index.
    """
    index = Index(namespace, parts.secret, parts.clock, bounds)
    return Neighbours(parts, reader, index, Copies(parts.secret))
