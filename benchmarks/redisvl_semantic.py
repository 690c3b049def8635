"""RedisVL's SemanticCache on labelled pairs, at the embedder and the thresholds of our own table.

`python -m benchmarks.redisvl_semantic URL [PAIRS]`, where URL is of a Redis with the search module,
and `redisvl` and `wordllama` are installed; neither is a dependency of the project. A pair's first
text is stored and its second one asked for, within a filter by pair, as ours are in a partition.
"""

import sys
from typing import Any

import numpy as np
from redis import Redis
from redisvl.extensions.cache.llm import SemanticCache
from redisvl.query.filter import Tag
from redisvl.utils.vectorize import CustomVectorizer

from benchmarks.semantic import THRESHOLDS, load_pairs, model, rates
from benchmarks.semantic_pairs import PAIRS
from benchmarks.show import table


def decisions(url: str, pairs: list[tuple[str, str, str, str]]) -> Any:
    """Which pairs hit, by threshold: of stored and asked texts, and the filters of both."""
    embedder = model()

    def embed(text: str) -> list[float]:
        return [float(x) for x in embedder.embed([text], norm=True)[0]]

    def embed_many(texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in row] for row in embedder.embed(texts, norm=True)]

    Redis.from_url(url).flushall()
    cache = SemanticCache(
        name="pairs",
        redis_url=url,
        vectorizer=CustomVectorizer(embed=embed, embed_many=embed_many, dtype="float32"),
        filterable_fields=[{"name": "part", "type": "tag"}],
        overwrite=True,
    )
    hits = np.zeros((len(THRESHOLDS), len(pairs)), bool)
    for number, (stored, _, part, _) in enumerate(pairs):
        cache.store(stored, str(number), filters={"part": part})
    for number, (_, asked, _, part) in enumerate(pairs):
        vector, only = embed(asked), Tag("part") == part
        for at, threshold in enumerate(THRESHOLDS):
            # Their cosine distance is 1 less the similarity.
            found = cache.check(
                vector=vector, filter_expression=only, distance_threshold=1 - threshold
            )
            hits[at, number] = bool(found)
    return hits


def run(url: str, path: str | None = None) -> None:
    """Print its tables."""
    if path is not None:
        known = load_pairs(path)
        asked = [(pair["a"], pair["b"], f"p{i}", f"p{i}") for i, pair in enumerate(known)]
        hits, same = decisions(url, asked), np.array([pair["same"] for pair in known])
        rows = [(f"{t:.2f}", *rates(hits[at], same)) for at, t in enumerate(THRESHOLDS)]
        heads = ("threshold", "hits", "precision", "recall")
        table(f"RedisVL, {len(known):,} labelled pairs, wordllama 256", heads, rows)
    tenants = [
        (pair.a, pair.b, *(f"{tenant}{i}" for tenant in pair.tenants))
        for i, pair in enumerate(PAIRS)
    ]
    hits = decisions(url, tenants)
    kinds = list(dict.fromkeys(pair.kind for pair in PAIRS))
    rows = []
    for kind in kinds:
        of_kind = np.array([pair.kind == kind for pair in PAIRS])
        rows.append((kind, f"{of_kind.sum()}", *(f"{hits[at, of_kind].sum()}" for at in range(5))))
    heads = ("kind", "pairs", *(f"{t:.2f}" for t in THRESHOLDS))
    table("RedisVL, hits by kind and threshold", heads, rows)


if __name__ == "__main__":
    run(*sys.argv[1:3])
