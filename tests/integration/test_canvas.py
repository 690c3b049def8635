"""S4: a long chain of hits is completed in a loop. Other workflows: tests/conformance."""

import pytest
from celery import chain

from tests.integration.benches import Bench
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind


def test_s4_a_long_chain_of_hits_does_not_recurse(bench: Bench, worker: Worker) -> None:
    steps = 300
    task = bench.task("cached.more")
    for i in range(steps):
        task.cache.set(i + 1, i, bench.tag, 1)
    first = task.s(0, bench.tag, 1)
    result = chain(first, *(task.s(bench.tag, 1) for _ in range(steps - 1))).apply_async()
    assert result.get(timeout=30) == steps
    assert not bench.counts.keys(f"more:{bench.tag}*")
