"""S4: a long chain of hits is completed in a loop. Other workflows: tests/conformance."""

import pytest
from celery import chain

from tests.integration.harness import Harness
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind


def test_s4_a_long_chain_of_hits_does_not_recurse(harness: Harness, worker: Worker) -> None:
    steps = 300
    task = harness.task("cached.more")
    for i in range(steps):
        task.cache.set(i + 1, i, harness.tag, 1)
    first = task.s(0, harness.tag, 1)
    result = chain(first, *(task.s(harness.tag, 1) for _ in range(steps - 1))).apply_async()
    assert result.get(timeout=30) == steps
    assert not harness.counts.keys(f"more:{harness.tag}*")
