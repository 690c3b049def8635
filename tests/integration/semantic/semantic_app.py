"""Tasks with semantic keys: texts of the same first word are near, and each run is counted."""

import os
from typing import Any

from celery import Celery

from tests.integration.semantic.harness import embed
from tta_taskcache import CachedTask, Semantic, TaskCache

RUNS, EMBEDDED = "semantic:runs", "semantic:embedded"


def make_app(broker: str, backend: str, cache: str) -> Celery:
    app = Celery("semantic", broker=broker, backend=backend, set_as_current=False)
    app.conf.worker_prefetch_multiplier = 1
    TaskCache(app, url=cache, timeout=2.0)

    def embed_here(texts: list[str]) -> list[Any]:
        app.backend.client.rpush(EMBEDDED, f"{os.getpid()} {' | '.join(texts)}")
        return embed(texts)

    def semantic(**options: Any) -> Semantic:
        return Semantic(
            on="prompt", embed=embed_here, threshold=0.9, embedder="toy 1", cost=0.01, **options
        )

    def task(name: str, **options: Any) -> Any:
        @app.task(base=CachedTask, name=name, shared=False, cache_ttl=60, **options)
        def answer(prompt: str, tenant: str = "a") -> str:
            app.backend.client.rpush(RUNS, prompt)
            return f"{tenant}: {prompt}"

        return answer

    task("answer", cache_semantic=semantic(), cache_tags=("tenant:{tenant}",))
    for site in ("consumer", "pool"):
        task(f"{site}.answer", cache_semantic=semantic(), cache_sites=(site,))
    task("verified", cache_semantic=semantic(), cache_verify=1.0)
    same = semantic(same=lambda one, other: one.split()[:2] == other.split()[:2])
    task("shadowed", cache_semantic=same, cache_shadow=True)
    task("exact")
    return app


if "SEMANTIC_CACHE" in os.environ:
    names = ("CELERY_BROKER_URL", "SEMANTIC_BACKEND", "SEMANTIC_CACHE")
    app = make_app(*(os.environ[name] for name in names))
