"""S4: chains of a thousand hits are answered one step after the other, and don't recurse."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import chain, uuid
from celery.result import AsyncResult

from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind

STEPS = 1_000
PATIENCE = 120


def warm_chain(harness: Harness, kind: str, steps: int) -> Any:
    """A chain that counts in thousands: no run would return that."""
    task = harness.task(f"{kind}.more")
    for i in range(steps):
        assert task.cache.set(1_000 * (i + 1), 1_000 * i, harness.tag, 1)
    return chain(task.s(0, harness.tag, 1), *(task.s(harness.tag, 1) for _ in range(steps - 1)))


def lineage(result: AsyncResult | None) -> Iterator[AsyncResult]:
    """The results of a chain from the last to the first."""
    while result is not None:
        yield result
        result = result.parent


def check(harness: Harness, ids: list[str], first_parent: str | None = None) -> None:
    """Each step has its own result in the backend, and is its parent's only child."""
    backend = harness.app.backend
    metas = [backend.get_task_meta(task_id, cache=False) for task_id in ids]
    assert [meta["status"] for meta in metas] == ["SUCCESS"] * len(ids)
    assert [meta["result"] for meta in metas] == [1_000 * (i + 1) for i in range(len(ids))]
    assert [meta.get("parent_id") for meta in metas] == [first_parent, *ids[:-1]]
    children = [[child[0][0] for child in meta.get("children") or ()] for meta in metas]
    assert children == [*([task_id] for task_id in ids[1:]), []]
    assert not harness.counts.keys(f"more:{harness.tag}*"), "nothing ran"


@pytest.fixture
def counting_harness_alone(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness]
) -> Harness:
    """A producer without workers."""
    return new_harness(server_factory())


def test_s4_a_thousand_hits_at_the_producer(counting_harness_alone: Harness) -> None:
    result = warm_chain(counting_harness_alone, "cached", STEPS).apply_async()
    assert result.get(timeout=PATIENCE) == 1_000 * STEPS
    ids = [each.id for each in lineage(result)][::-1]
    assert len(set(ids)) == STEPS
    check(counting_harness_alone, ids)
    assert counting_harness_alone.server.client(0).llen("celery") == 0, "no message was sent"


def test_s4_a_thousand_hits_inside_a_worker(harness: Harness, worker: Worker) -> None:
    """A task that ends calls the chain: its first step is answered in the pool process."""
    steps = warm_chain(harness, "cached", STEPS)
    ids = [uuid() for _ in range(STEPS)]
    for step, task_id in zip(steps.tasks, ids, strict=True):
        step.set(task_id=task_id)
    steps.tasks[0] = steps.tasks[0].clone().set(immutable=True)
    caller = harness.task("plain.add").apply_async((harness.tag, 1), link=steps)
    assert caller.get(timeout=PATIENCE) == 1
    assert harness.app.AsyncResult(ids[-1]).get(timeout=PATIENCE) == 1_000 * STEPS
    check(harness, ids, caller.id)


def test_s4_three_hundred_hits_at_the_consumer(harness: Harness, worker: Worker) -> None:
    """Each is a message that the worker's main process answers, with the pool busy."""
    steps = 300
    workflow = warm_chain(harness, "consumer", steps)
    open_gate = harness.occupy(2)
    try:
        result = workflow.apply_async()
        assert result.get(timeout=PATIENCE) == 1_000 * steps
    finally:
        open_gate()
    ids = [each.id for each in lineage(result)][::-1]
    assert len(set(ids)) == steps
    check(harness, ids)
