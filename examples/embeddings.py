"""Texts are embedded one by one, in batches: `python -m examples.embeddings`."""

import hashlib
import time

from celery import Celery

from examples.embedded import redis_url
from tta_taskcache import CachedTask, TaskCache


def main(url: str) -> None:
    """Run the example."""
    app = Celery("embeddings", broker="memory://", backend="cache+memory://")
    cache = TaskCache(app, url=url)

    @app.task(base=CachedTask, cache_each="texts", cache_ttl=86_400)
    def embed(texts: list[str]) -> list[list[float]]:
        print(f"          the model gets {len(texts):,} texts")
        time.sleep(0.002 * len(texts))  # a model that takes its time for each
        return [[byte / 255 for byte in hashlib.sha256(text.encode()).digest()] for text in texts]

    monday = [f"page {number}" for number in range(1_000)]
    tuesday = monday[100:] + [f"page {number}, new" for number in range(100)]
    for day, pages in {"Monday": monday, "Tuesday": tuesday, "Wednesday": tuesday}.items():
        started = time.perf_counter()
        vectors = embed.cache.call(pages)
        print(f"{time.perf_counter() - started:6.3f} s  {day}: {len(vectors):,} vectors")
    stats = cache.stats().tasks[embed.name]
    hits, misses = sum(stats.hits.values()), sum(stats.misses.values())
    print(f"{hits:,} hits, {misses:,} misses, {stats.runs} runs")


if __name__ == "__main__":
    with redis_url() as url:
        main(url)
