"""Processes that share an index: calls whose texts have vectors of the test's own."""

import re
from dataclasses import replace
from typing import Any

import numpy as np

from tests.integration.engine.process import Process, call
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.semantic.partition import SemanticCall
from tta_taskcache.core.semantic.semantic_policy import Semantic
from tta_taskcache.semantic.index import BOUNDS, IndexBounds
from tta_taskcache.semantic.neighbours import (
    Neighbours,
    NeighbourSearch,
    SemanticQuery,
    make_neighbours,
)
from tta_taskcache.semantic.vectors import packed

PARTITION = "p" * 32


def embed(texts: list[str]) -> list[Any]:
    """Texts of the same first word are near: 0.98 and more."""
    vectors = []
    for text in texts:
        subject = np.random.default_rng(hash_of(re.split(r"\W", text)[0]))
        own = np.random.default_rng(hash_of(text))
        vector, noise = subject.standard_normal(32), own.standard_normal(32)
        vectors.append(vector / np.linalg.norm(vector) + 0.1 * noise / np.linalg.norm(noise))
    return vectors


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:8].ljust(8), "big") + sum(text.encode())


class SemanticProcess:
    """A process with an engine, and with a copy of the index."""

    def __init__(
        self,
        process: Process,
        namespace: str | None = "ns",
        bounds: IndexBounds = BOUNDS,
        **options: Any,
    ) -> None:
        self.process = process
        self.semantic = Semantic(
            **{"on": "prompt", "embed": embed, "threshold": 0.9, "guard": None, **options}
        )
        engine = process.engine
        self.neighbours: Neighbours = make_neighbours(
            engine.parts, engine.reader, namespace, bounds
        )

    def query(
        self, text: str, partition: str = PARTITION, tags: tuple[str, ...] = (), **options: Any
    ) -> SemanticQuery:
        key = f"t:{partition[:4]}:{text}".replace(" ", "-")
        which: Call = call(key, tags=tags, semantic=self.semantic, **options)
        (vector,) = map(packed, self.semantic.embed([text]))  # type: ignore[arg-type]  # it is sync
        about = SemanticCall(partition, text)
        return SemanticQuery(
            call=which, about=about, vector=vector, threshold=self.semantic.threshold
        )

    def find(self, text: str, **options: Any) -> NeighbourSearch:
        query = self.query(text, **options)
        return run(self.neighbours.find(query), self.process.store)

    def answer(self, text: str, **options: Any) -> Any:
        hit = self.find(text, **options).hit
        return None if hit is None else hit.value

    def store(self, text: str, value: Any = None, **options: Any) -> Call:
        """Run a call: its result is stored, and its text in the index."""
        query = self.query(text, **options)
        missed = self.process.look(query.call)
        assert isinstance(missed, Miss)
        assert self.process.fill(text if value is None else value, missed, query.call)
        self.add(query)
        return query.call

    def add(self, query: SemanticQuery) -> None:
        run(self.neighbours.add(query, 60.0), self.process.store)

    def exact(self, call: Call) -> Hit | Miss:
        return self.process.look(replace(call))
