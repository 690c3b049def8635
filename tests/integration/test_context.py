"""K3: context headers, where they come from and how far they go."""

import pytest
from celery import chain, chord, group

from tests.integration.benches import Bench
from tests.support.workers import Worker
from tta_taskcache import MissingContext

pytestmark = pytest.mark.one_server_kind


def test_k3_without_its_header_a_call_runs_and_is_not_stored(bench: Bench, worker: Worker) -> None:
    task = bench.task("tenant.of")
    for _ in range(2):
        result = task.delay(bench.tag)
        assert result.get(timeout=20) == f"{bench.tag}@nobody"
        assert result.cache_status.reason == "missing-context"
    assert bench.runs("tenant.of", bench.tag, "nobody") == 2
    assert bench.cache.keys("*tenant.of*") == []
    explanation = task.cache.explain(bench.tag)
    assert explanation.status == "bypass"
    assert "'tenant'" in explanation.reason
    assert "headers={'tenant'" in explanation.reason
    with pytest.raises(MissingContext, match="tenant"):
        task.cache.key(bench.tag)
    misses = bench.cache.stats().tasks["tenant.of"].misses
    assert misses["producer/missing-context"] == 2


def test_k3_a_header_of_the_call_goes_before_the_ambient_one(bench: Bench, worker: Worker) -> None:
    task = bench.task("tenant.of")
    with bench.cache.context(tenant="acme"):
        assert task.delay(bench.tag).get(timeout=20) == f"{bench.tag}@acme"
        own = task.apply_async((bench.tag,), headers={"tenant": "other"})
        assert own.get(timeout=20) == f"{bench.tag}@other"
        with bench.cache.context(tenant="inner"):
            assert task.delay(bench.tag).get(timeout=20) == f"{bench.tag}@inner"
        assert task.delay(bench.tag).cache_status.hit
    hit = task.apply_async((bench.tag,), headers={"tenant": "other"})
    assert hit.cache_status.hit
    assert hit.get(timeout=20) == f"{bench.tag}@other"


def test_k3_each_tenant_has_entries_of_its_own(bench: Bench, worker: Worker) -> None:
    task = bench.task("tenant.of")
    for _ in range(2):
        for tenant in ("a", "b"):
            with bench.cache.context(tenant=tenant):
                assert task.delay(bench.tag).get(timeout=20) == f"{bench.tag}@{tenant}"
    assert [bench.runs("tenant.of", bench.tag, tenant) for tenant in ("a", "b")] == [1, 1]


@pytest.mark.parametrize("how", ["ambient", "headers"])
def test_k3_the_header_reaches_each_step_of_a_chain(bench: Bench, worker: Worker, how: str) -> None:
    """Celery drops custom headers in a chain's last step."""

    def steps(tag: str) -> chain:
        of, after = bench.task("tenant.of"), bench.task("tenant.after")
        return chain(of.s(tag), after.s(tag), bench.task("plain.add").si(tag, 1), after.si(0, tag))

    def call() -> str:
        if how == "headers":
            return steps(bench.tag).apply_async(headers={"tenant": "acme"}).get(timeout=20)
        with bench.cache.context(tenant="acme"):
            return steps(bench.tag).delay().get(timeout=20)

    assert call() == f"0>{bench.tag}@acme"
    assert call() == f"0>{bench.tag}@acme"
    assert bench.runs("tenant.of", bench.tag, "acme") == 1
    assert bench.runs("tenant.after", bench.tag, "acme") == 2


def test_k3_the_header_reaches_a_child_of_a_plain_task(bench: Bench, worker: Worker) -> None:
    with bench.cache.context(tenant="acme"):
        child = bench.task("tenant.parent").delay(bench.tag).get(timeout=20)
    assert bench.app.AsyncResult(child).get(timeout=20) == f"{bench.tag}@acme"


def test_k3_the_header_reaches_a_group_and_the_body_of_a_chord(
    bench: Bench, worker: Worker
) -> None:
    of, after = bench.task("tenant.of"), bench.task("tenant.after")
    for _ in range(2):
        with bench.cache.context(tenant="acme"):
            together = group(of.s(bench.tag), of.s(bench.tag + "2")).delay()
            body = chord([of.s(bench.tag)], after.s(bench.tag)).delay()
        assert together.get(timeout=20) == [f"{bench.tag}@acme", f"{bench.tag}2@acme"]
        assert body.get(timeout=20) == f"['{bench.tag}@acme']>{bench.tag}@acme"
    assert bench.runs("tenant.after", bench.tag, "acme") == 1


def test_k3_a_name_that_celery_uses_too_means_the_users_header(
    bench: Bench, worker: Worker
) -> None:
    task = bench.app.tasks["tenant.lang"]
    with bench.cache.context(lang="de"):
        assert task.delay(bench.tag).get(timeout=20) == bench.tag
        assert task.delay(bench.tag).cache_status.hit
    assert task.delay(bench.tag).cache_status.reason == "missing-context"


@pytest.mark.parametrize("value", [None, object(), ["a"], {"a": 1}])
def test_a_context_value_that_not_every_message_carries_is_refused(
    bench: Bench, value: object
) -> None:
    with pytest.raises(TypeError, match=r"context\(tenant="), bench.cache.context(tenant=value):
        pytest.fail("the block must not run")
