"""Neighbours: the plan that finds a stored call with nearly the same text, and judges it.

Its entry is read as any entry is, by the reader and under its own key: an entry that has ended, or
that was made by somebody without the secret, answers nobody, whatever the index says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..cache.engine.parts import Parts
from ..cache.engine.reader import Reader
from ..cache.outcome import Call, Hit
from ..cache.plan import Plan
from ..core.entries.decide import Verdict
from ..core.interruption import handled_now, raise_interruption
from ..core.semantic.index_record import IndexRecord
from ..core.semantic.partition import SemanticCall
from ..core.semantic.semantic_policy import Semantic
from ..errors import StoreUnavailable
from .index import BOUNDS, Index, IndexBounds
from .partition_copy import Copies
from .vector_rows import Candidate
from .vectors import unpacked

#: Most candidates of a call, and most of their entries that are read.
CANDIDATES, READS = 8, 4

#: How far below the threshold a near miss is measured.
NEAR_MISS = 0.2

#: Verdicts on an entry that will answer nobody any more: its record leaves the index.
_GONE = frozenset(verdict.value for verdict in (Verdict.ABSENT, Verdict.INVALIDATED))

BELOW = "below-threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True)
class JudgedNeighbour:
    """A near call, and why it doesn't answer.

    Attributes:
        key: Its key.
        text: Its text.
        similarity: Its cosine similarity.
        reason: Why it doesn't answer: ``"below-threshold"``, a word of the guard, ``"equal"``,
            ``"too-old"``, ``"failure"``, or the verdict on its entry; empty for the one that does.
    """

    key: str
    text: str
    similarity: float
    reason: str

    def __str__(self) -> str:
        return f"{self.similarity:.4f} {self.reason or 'answers'}: {self.text!r}"


@dataclass(frozen=True, slots=True)
class NeighbourSearch:
    """What a search has found.

    Attributes:
        hit: The neighbour's result; None when none answers.
        judged: The nearest calls that were judged, nearest first.
    """

    hit: Hit | None = None
    judged: tuple[JudgedNeighbour, ...] = ()


@dataclass(frozen=True, slots=True)
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
        self.copies.shrink()
        least = query.threshold - NEAR_MISS if floor is None else floor
        judged: list[JudgedNeighbour] = []
        reads = 0
        for candidate in copy.nearest(vector, CANDIDATES, least):
            reason, hit = self._veto(query, candidate), None
            if not reason and reads < READS:
                reads += 1
                reason, hit = yield from self._read(query, candidate)
                if reason in _GONE:
                    copy.withdrawn.add(candidate.key)
            near = candidate.similarity
            judged.append(JudgedNeighbour(candidate.key, candidate.text, near, reason))
            if hit is not None:
                copy.note_use(candidate.key)
                return NeighbourSearch(hit, tuple(judged))
        return NeighbourSearch(None, tuple(judged))

    def _veto(self, query: SemanticQuery, candidate: Candidate) -> str:
        """Return the reason why a candidate's entry isn't even read; empty for none."""
        semantic, asked = query.semantic, query.about.text
        if candidate.key == query.call.key:
            return "itself"
        if candidate.similarity < query.threshold:
            return BELOW
        guard, equal = semantic.guard, semantic.equal
        if guard is not None and (reason := self._called(guard, asked, candidate.text, "guard")):
            return reason

        def differs(one: str, other: str) -> str:
            return "" if equal is None or equal(one, other) else "equal"

        return self._called(differs, asked, candidate.text, "equal")

    def _called(self, judge: Callable[[str, str], str], asked: str, stored: str, name: str) -> str:
        """Call a function of the user's; its failure is a veto."""
        handled = handled_now()
        try:
            return judge(asked, stored)
        except Exception as error:  # noqa: BLE001 - no call fails for it (promise F1)
            raise_interruption(error, self.parts.codecs.interruptions, handled)
            return f"{name}-failed"

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
        self.copies.shrink()


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
