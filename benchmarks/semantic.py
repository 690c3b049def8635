"""Semantic keys: wrong hits on labelled pairs, time of a look, and whether the bound holds.

`python -m benchmarks.semantic [PAIRS]`: JSON lines with `a`, `b` and `same`, such as a part of
Quora's question pairs, packed by xz. Without it, only what needs no labels is measured.
"""

import asyncio
import json
import lzma
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import wordllama

from benchmarks.semantic_pairs import PAIRS
from benchmarks.show import table
from tests.support.servers import Server, available
from tta_taskcache import MISSING, CachedTask, CachePrimitive, Semantic, TaskCache
from tta_taskcache.core.semantic.confidence import Sample, bounds_at, lowest_safe
from tta_taskcache.core.semantic.guard import differing
from tta_taskcache.core.semantic.index_record import IndexRecord
from tta_taskcache.core.semantic.partition import SemanticCall
from tta_taskcache.semantic.neighbours import SemanticQuery
from tta_taskcache.semantic.vectors import packed

THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98)
CHANCE = np.random.default_rng(1)


def model() -> Any:
    """The embedder: its weights are in its wheel."""
    return wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )


def load_pairs(path: str) -> list[dict[str, Any]]:
    """The labelled pairs of a file."""
    return [json.loads(line) for line in lzma.decompress(Path(path).read_bytes()).splitlines()]


def rates(hits: Any, same: Any) -> tuple[str, str, str]:
    """The number of hits, their precision and recall."""
    precision = f"{same[hits].mean():.1%}" if hits.any() else "-"
    return f"{hits.sum():,}", precision, f"{same[hits].sum() / same.sum():.1%}"


def decisions(pairs: list[tuple[str, str, str, str]], guard: Any) -> Any:
    """Which pairs hit, by threshold: of stored and asked texts, and the partitions of both."""
    texts = list({text for pair in pairs for text in pair[:2]})
    vectors = dict(zip(texts, model().embed(texts, norm=True), strict=True))

    async def embed(some: list[str]) -> list[Any]:
        return [vectors[text] for text in some]

    semantic = Semantic(
        on="prompt", embed=embed, guard=guard, threshold=THRESHOLDS[0], embedder="wordllama 256"
    )
    hits = np.zeros((len(THRESHOLDS), len(pairs)), bool)

    async def ask() -> None:
        cache = CachePrimitive(name="pairs", semantic=semantic, max_size=len(pairs))
        for stored, _, part, _ in pairs:
            await cache.aset({"prompt": stored, "part": part}, 1)
        for number, (_, asked, _, part) in enumerate(pairs):
            for at, threshold in enumerate(THRESHOLDS):
                found = await cache.aget({"prompt": asked, "part": part}, semantic=threshold)
                hits[at, number] = found is not MISSING

    asyncio.run(ask())
    return hits


def pairs(path: str) -> None:
    """Precision and recall by threshold, without and with the guard."""
    known = load_pairs(path)
    same = np.array([pair["same"] for pair in known])
    asked = [(pair["a"], pair["b"], f"p{i}", f"p{i}") for i, pair in enumerate(known)]
    alone, guarded = decisions(asked, None), decisions(asked, differing)
    rows = [
        (f"{threshold:.2f}", *rates(alone[at], same), *rates(guarded[at], same))
        for at, threshold in enumerate(THRESHOLDS)
    ]
    heads = ("threshold", "hits", "precision", "recall", "guarded", "precision", "recall")
    table(f"{len(known):,} labelled pairs, wordllama 256", heads, rows)


def kinds() -> None:
    """Hits by kind of pair, without and with the guard."""
    asked = [
        (pair.a, pair.b, *(f"{tenant}{i}" for tenant in pair.tenants))
        for i, pair in enumerate(PAIRS)
    ]
    alone, guarded = decisions(asked, None), decisions(asked, differing)
    rows = []
    for kind in dict.fromkeys(pair.kind for pair in PAIRS):
        of_kind = np.array([pair.kind == kind for pair in PAIRS])
        cells = [f"{alone[at, of_kind].sum()} / {guarded[at, of_kind].sum()}" for at in range(5)]
        rows.append((kind, f"{of_kind.sum()}", *cells))
    heads = ("kind", "pairs", *(f"{t:.2f}" for t in THRESHOLDS))
    table("hits by kind and threshold: without / with the guard", heads, rows)


def unit(vector: Any) -> Any:
    """A vector of length 1."""
    return vector / np.linalg.norm(vector)


def looks(entries: int, number: int = 300) -> tuple[str, ...]:
    """Time of a look that a neighbour answers, against an exact hit in Redis."""
    from celery import Celery  # noqa: PLC0415 - the other parts need none

    with Server(available()[0]) as server:
        app = Celery(broker=server.url(0), backend=server.url(1), set_as_current=False)
        cache = TaskCache(app, url=server.url(2), l1_max_entries=0, timeout=5.0)
        semantic = Semantic(
            on="q", embed=lambda texts: [[1.0] for _ in texts], threshold=0.8, embedder="made up",
            guard=None, max_entries=entries,
        )  # fmt: skip

        @app.task(base=CachedTask, name="t", cache_semantic=semantic, shared=False)
        def task(q: str) -> str:
            return q

        runtime, policy = cache.runtime, task.cache_policy
        # Groups of near vectors, as questions come.
        centres = [unit(CHANCE.standard_normal(256)) for _ in range(max(10, entries // 100))]
        vectors = [
            unit(centres[i % len(centres)] + 0.7 * unit(CHANCE.standard_normal(256)))
            for i in range(entries)
        ]
        partition = "p" * 32

        def query(text: str, vector: Any) -> SemanticQuery:
            from tta_taskcache.cache.outcome import Call  # noqa: PLC0415 - likewise

            call = Call("t", f"t:{text}", policy)
            about = SemanticCall(partition, text)
            return SemanticQuery(call=call, about=about, vector=packed(vector), threshold=0.8)

        neighbours = runtime.neighbours.neighbours
        writer, index = runtime.engine.writer, neighbours.index
        copy = neighbours.copies.of(partition)
        position = runtime.run(writer.position(query("x", vectors[0]).call))
        for i, vector in enumerate(vectors):
            asked = query(f"k{i}", vector)
            record = IndexRecord(asked.call.key, asked.about.text, asked.vector)
            runtime.run(index.add(copy, record, entries, 3600.0))
        asked_for = CHANCE.choice(entries, number, replace=False)
        for i in asked_for:
            call = query(f"k{i}", vectors[i]).call
            runtime.run(writer.fill(call, position, "value", run_seconds=1.0, task_id=None))
        near = [
            query(f"a{i}", unit(vectors[i] + 0.2 * unit(CHANCE.standard_normal(256))))
            for i in asked_for
        ]
        copy.start_over()
        started, calls = time.perf_counter(), 0
        while copy.cursor is not None or len(copy) < entries:
            runtime.run(neighbours.find(near[0]))
            calls += 1
        loading = time.perf_counter() - started
        times: dict[str, list[float]] = {"exact": [], "near": []}
        right, everything = 0, np.stack(vectors).astype("f4")
        for i, asked in zip(asked_for, near, strict=True):
            started = time.perf_counter()
            runtime.run(runtime.engine.look(query(f"k{i}", vectors[i]).call, "direct"))
            times["exact"].append(time.perf_counter() - started)
            started = time.perf_counter()
            runtime.run(runtime.engine.look(asked.call, "direct"))
            found = runtime.run(neighbours.find(asked))
            times["near"].append(time.perf_counter() - started)
            best = int(np.argmax(everything @ np.frombuffer(asked.vector, "<f2").astype("f4")))
            right += found.hit is not None and found.judged[0].key == f"t:k{best}"
        ratio = [
            np.percentile(times["near"], p) / np.percentile(times["exact"], p) for p in (50, 99)
        ]
        return (
            f"{entries:,}",
            f"{np.percentile(times['exact'], 50) * 1e3:.2f} ms",
            f"{ratio[0]:.1f}",
            f"{ratio[1]:.1f}",
            f"{copy.size / 1e6:.0f} MB",
            f"{loading:.1f} s in {calls} calls",
            f"{right / number:.1%}",
        )


def operators(number: int = 1_000) -> None:
    """How often the true share exceeds the bound, for who picks the lowest safe threshold."""
    chance, grid = random.Random(1), [0.8, 0.85, 0.9, 0.95]  # noqa: S311 - no secret
    wrong_in = dict(zip(grid, [0.2, 0.14, 0.12, 0.105], strict=True))  # all above the bound of 0.1
    fooled = 0
    for _ in range(number):
        samples = []
        for similarity in grid:
            wrong = sum(chance.random() < wrong_in[similarity] for _ in range(60))
            samples.append(Sample(similarity, 60 - wrong, wrong))
        fooled += lowest_safe(bounds_at(samples, grid, 0.95), 0.1) is not None
    heads = ("operators", "told of a threshold that isn't safe")
    table("the bound, at 95 %", heads, [(f"{number:,}", f"{fooled / number:.1%}")])


def run(path: str | None = None) -> None:
    """Measure it."""
    if path is not None:
        pairs(path)
    kinds()
    operators()
    heads = ("entries", "exact L2 hit", "p50 ratio", "p99 ratio", "copy", "cold start", "recall")
    table("a look that a neighbour answers", heads, [looks(1_000), looks(100_000)])


if __name__ == "__main__":
    run(*sys.argv[1:2])
