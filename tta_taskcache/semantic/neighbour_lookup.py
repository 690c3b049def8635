"""The lookup of a call among its neighbours, after its exact key had no entry.

One plan, for callers that block and for event loops: embed the text, find the nearest stored call
that answers, and tell the observers what was found.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from ..cache.engine.lookup_record import record_lookup
from ..cache.leases.single_flight import SharedAnswer
from ..cache.outcome import Call, Hit
from ..cache.plan import Plan
from ..core.events import Compared, Shadowed
from ..core.record import record
from ..core.semantic.partition import SemanticCall
from ..core.semantic.semantic_policy import Semantic
from ..errors import StoreUnavailable
from ..stores.loop_local import LoopLocal
from .embedding import EmbedBatches, Embedder, EmbeddingText
from .neighbours import Neighbours, NeighbourSearch, SemanticQuery


@record(kw_only=True)
class NeighbourRequest:
    """A call that is looked up among its neighbours.

    Attributes:
        call: The call; ``verify`` says whether a hit is only compared with.
        about: Its partition and text.
        threshold: Least similarity, the task's or the call's.
        site: The site that looks.
        vector: Its text's vector, if an earlier site has embedded it.
        is_shadowed: Whether neighbours are only counted.
    """

    call: Call
    about: SemanticCall
    threshold: float
    site: str
    vector: bytes | None = None
    is_shadowed: bool = False


@record
class NeighbourAnswer:
    """What a lookup has found.

    Attributes:
        vector: The text's vector; None when it couldn't be embedded.
        hit: The neighbour's result; None when none answers.
        seconds: Seconds that the lookup took.
        read_at: When the neighbour's entry was read (monotonic seconds).
    """

    vector: bytes | None = None
    hit: Hit | None = None
    seconds: float = 0.0
    read_at: float = 0.0


@record
class NeighbourLookup:
    """Looks calls up among their neighbours, and adds calls. Its methods return plans.

    Attributes:
        neighbours: Finds and adds neighbours.
        batches: The texts that wait to be embedded, of each event loop.
    """

    neighbours: Neighbours
    batches: LoopLocal[EmbedBatches] = field(default_factory=lambda: LoopLocal(EmbedBatches))

    def embedder(self, task: str, semantic: Semantic) -> Embedder:
        """Return the embedder of a task."""
        parts = self.neighbours.parts
        return Embedder(
            task=task,
            semantic=semantic,
            observe=parts.observe,
            interruptions=parts.codecs.interruptions,
        )

    def look(self, request: NeighbourRequest) -> Plan[NeighbourAnswer]:
        """Look a call up. Never raises for a fault of the store or of the embedder.

        Args:
            request: The call.
        """
        parts, call = self.neighbours.parts, request.call
        started = parts.clock()
        vector = request.vector or (yield from self._embed(call, request.about))
        if vector is None:
            return NeighbourAnswer()
        searched = parts.clock()
        query = SemanticQuery(
            call=call, about=request.about, vector=vector, threshold=request.threshold
        )
        found = yield from self.neighbours.find(query)
        # What embedding takes is counted by itself, whether or not a neighbour answers.
        self._record(request, found, parts.clock() - searched)
        return NeighbourAnswer(vector, found.hit, parts.clock() - started, found.read_at)

    def _record(self, request: NeighbourRequest, found: NeighbourSearch, seconds: float) -> None:
        observe, call, hit = self.neighbours.parts.observe, request.call, found.hit
        nearest = found.judged[-1] if hit else next(iter(found.judged), None)
        if nearest is not None:
            outcome = nearest.outcome or ("shadow" if request.is_shadowed else "hit")
            similarity = nearest.similarity
            observe(Compared(call.task, call.key, request.site, similarity, outcome, nearest.key))
        if hit is None:
            return
        if request.is_shadowed:
            saved = max(0.0, hit.entry.run_seconds - seconds)
            observe(Shadowed(call.task, call.key, True, saved, hit.entry.cost))
        else:
            record_lookup(observe, call, request.site, hit, seconds=seconds)

    def explain(self, call: Call, about: SemanticCall, threshold: float) -> Plan[NeighbourSearch]:
        """Judge the nearest calls of one, however far they are; count nothing but the embedding."""
        vector = yield from self._embed(call, about)
        if vector is None:
            return NeighbourSearch()
        query = SemanticQuery(call=call, about=about, vector=vector, threshold=threshold)
        return (yield from self.neighbours.find(query, floor=0.0))

    def add(self, call: Call, about: SemanticCall, vector: bytes | None) -> Plan[None]:
        """Add a call whose result was just stored. Never raises for a fault of store or embedder.

        Args:
            call: The call.
            about: Its partition and text.
            vector: Its text's vector, if that is known.
        """
        semantic = call.policy.semantic
        if semantic is None:
            return
        vector = vector or self.neighbours.known_vector(about, call.key)
        vector = vector or (yield from self._embed(call, about))
        if vector is None:
            return
        query = SemanticQuery(call=call, about=about, vector=vector, threshold=semantic.threshold)
        with suppress(StoreUnavailable):  # its breaker has told of it: the call has its exact key
            yield from self.neighbours.add(query, call.policy.ttl + call.policy.stale_for)

    def _embed(self, call: Call, about: SemanticCall) -> Plan[bytes | None]:
        semantic = call.policy.semantic
        if semantic is None:
            return None
        embedder = self.embedder(call.task, semantic)
        vector: bytes | None = yield EmbeddingText(embedder, about.text, self.batches)
        return vector


@dataclass(slots=True)
class CallNeighbours:
    """The neighbours of one call that reads through (``cache.event_loops``).

    Args:
        lookup: Looks it up, and adds it.
        about: Its partition and text.
        threshold: Least similarity; None: no neighbour answers it.
        site: The site that looks.
    """

    lookup: NeighbourLookup
    about: SemanticCall
    threshold: float | None
    site: str
    read_at: float = 0.0
    vector: bytes | None = None

    def find(self, call: Call, *, is_shadowed: bool = False) -> Plan[Hit | None]:
        """Find the neighbour that answers; its text's vector is kept for ``add``."""
        if self.threshold is None:
            return None
        request = NeighbourRequest(
            call=call,
            about=self.about,
            threshold=self.threshold,
            site=self.site,
            vector=self.vector,
            is_shadowed=is_shadowed,
        )
        found = yield from self.lookup.look(request)
        self.vector, self.read_at = found.vector, found.read_at
        return found.hit

    def accepts(self, shared: SharedAnswer) -> bool:
        """Whether the neighbour that has answered an equal call answers this one."""
        similarity = shared.hit.similarity
        is_near = similarity is not None and self.threshold is not None
        return is_near and similarity >= self.threshold  # type: ignore[operator]  # just checked

    def add(self, call: Call) -> Plan[None]:
        """Add the call, whose result was just stored."""
        yield from self.lookup.add(call, self.about, self.vector)
