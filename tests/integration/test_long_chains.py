"""S4: chains of a thousand hits are answered one step after the other, and don't recurse."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import chain, uuid
from celery.result import AsyncResult

from tests.integration.benches import Bench
from tests.support.servers import Server
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind

STEPS = 1_000
PATIENCE = 120


def warm_chain(bench: Bench, kind: str, steps: int) -> Any:
    """A chain that counts in thousands: no run would return that."""
    task = bench.task(f"{kind}.more")
    for i in range(steps):
        assert task.cache.set(1_000 * (i + 1), 1_000 * i, bench.tag, 1)
    return chain(task.s(0, bench.tag, 1), *(task.s(bench.tag, 1) for _ in range(steps - 1)))


def lineage(result: AsyncResult | None) -> Iterator[AsyncResult]:
    """The results of a chain from the last to the first."""
    while result is not None:
        yield result
        result = result.parent


def check(bench: Bench, ids: list[str], first_parent: str | None = None) -> None:
    """Each step has its own result in the backend, and is its parent's only child."""
    backend = bench.app.backend
    metas = [backend.get_task_meta(task_id, cache=False) for task_id in ids]
    assert [meta["status"] for meta in metas] == ["SUCCESS"] * len(ids)
    assert [meta["result"] for meta in metas] == [1_000 * (i + 1) for i in range(len(ids))]
    assert [meta.get("parent_id") for meta in metas] == [first_parent, *ids[:-1]]
    children = [[child[0][0] for child in meta.get("children") or ()] for meta in metas]
    assert children == [*([task_id] for task_id in ids[1:]), []]
    assert not bench.counts.keys(f"more:{bench.tag}*"), "nothing ran"


@pytest.fixture
def alone(server_factory: Callable[..., Server], new_bench: Callable[..., Bench]) -> Bench:
    """A producer without workers."""
    return new_bench(server_factory())


def test_s4_a_thousand_hits_at_the_producer(alone: Bench) -> None:
    result = warm_chain(alone, "cached", STEPS).apply_async()
    assert result.get(timeout=PATIENCE) == 1_000 * STEPS
    ids = [each.id for each in lineage(result)][::-1]
    assert len(set(ids)) == STEPS
    check(alone, ids)
    assert alone.server.client(0).llen("celery") == 0, "no message was sent"


def test_s4_a_thousand_hits_inside_a_worker(bench: Bench, worker: Worker) -> None:
    """A task that ends calls the chain: its first step is answered in the pool process."""
    steps = warm_chain(bench, "cached", STEPS)
    ids = [uuid() for _ in range(STEPS)]
    for step, task_id in zip(steps.tasks, ids, strict=True):
        step.set(task_id=task_id)
    steps.tasks[0] = steps.tasks[0].clone().set(immutable=True)
    caller = bench.task("plain.add").apply_async((bench.tag, 1), link=steps)
    assert caller.get(timeout=PATIENCE) == 1
    assert bench.app.AsyncResult(ids[-1]).get(timeout=PATIENCE) == 1_000 * STEPS
    check(bench, ids, caller.id)


def test_s4_three_hundred_hits_at_the_consumer(bench: Bench, worker: Worker) -> None:
    """Each is a message that the worker's main process answers, with the pool busy."""
    steps = 300
    workflow = warm_chain(bench, "consumer", steps)
    open_gate = bench.occupy(2)
    try:
        result = workflow.apply_async()
        assert result.get(timeout=PATIENCE) == 1_000 * steps
    finally:
        open_gate()
    ids = [each.id for each in lineage(result)][::-1]
    assert len(set(ids)) == steps
    check(bench, ids)
