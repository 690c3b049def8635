"""K3: context headers, where they come from and how far they go."""

import pytest
from celery import chain, chord, group

from tests.integration.harness import Harness
from tests.support.workers import Worker
from tta_taskcache import MissingContext

pytestmark = pytest.mark.one_server_kind


def test_k3_without_its_header_a_call_runs_and_is_not_stored(
    harness: Harness, worker: Worker
) -> None:
    task = harness.task("tenant.of")
    for _ in range(2):
        result = task.delay(harness.tag)
        assert result.get(timeout=20) == f"{harness.tag}@nobody"
        assert result.cache_status.reason == "missing-context"
    assert harness.runs("tenant.of", harness.tag, "nobody") == 2
    assert harness.cache.keys("*tenant.of*") == []
    explanation = task.cache.explain(harness.tag)
    assert explanation.status == "bypass"
    assert "'tenant'" in explanation.reason
    assert "headers={'tenant'" in explanation.reason
    with pytest.raises(MissingContext, match="tenant"):
        task.cache.key(harness.tag)
    misses = harness.cache.stats().tasks["tenant.of"].misses
    assert misses["producer/missing-context"] == 2


def test_k3_a_header_of_the_call_goes_before_the_ambient_one(
    harness: Harness, worker: Worker
) -> None:
    task = harness.task("tenant.of")
    with harness.cache.context(tenant="acme"):
        assert task.delay(harness.tag).get(timeout=20) == f"{harness.tag}@acme"
        own = task.apply_async((harness.tag,), headers={"tenant": "other"})
        assert own.get(timeout=20) == f"{harness.tag}@other"
        with harness.cache.context(tenant="inner"):
            assert task.delay(harness.tag).get(timeout=20) == f"{harness.tag}@inner"
        assert task.delay(harness.tag).cache_status.hit
    hit = task.apply_async((harness.tag,), headers={"tenant": "other"})
    assert hit.cache_status.hit
    assert hit.get(timeout=20) == f"{harness.tag}@other"


def test_k3_each_tenant_has_entries_of_its_own(harness: Harness, worker: Worker) -> None:
    task = harness.task("tenant.of")
    for _ in range(2):
        for tenant in ("a", "b"):
            with harness.cache.context(tenant=tenant):
                assert task.delay(harness.tag).get(timeout=20) == f"{harness.tag}@{tenant}"
    assert [harness.runs("tenant.of", harness.tag, tenant) for tenant in ("a", "b")] == [1, 1]


@pytest.mark.parametrize("how", ["ambient", "headers"])
def test_k3_the_header_reaches_each_step_of_a_chain(
    harness: Harness, worker: Worker, how: str
) -> None:
    """Celery drops custom headers in a chain's last step."""

    def steps(tag: str) -> chain:
        of, after = harness.task("tenant.of"), harness.task("tenant.after")
        return chain(
            of.s(tag), after.s(tag), harness.task("plain.add").si(tag, 1), after.si(0, tag)
        )

    def call() -> str:
        if how == "headers":
            return steps(harness.tag).apply_async(headers={"tenant": "acme"}).get(timeout=20)
        with harness.cache.context(tenant="acme"):
            return steps(harness.tag).delay().get(timeout=20)

    assert call() == f"0>{harness.tag}@acme"
    assert call() == f"0>{harness.tag}@acme"
    assert harness.runs("tenant.of", harness.tag, "acme") == 1
    assert harness.runs("tenant.after", harness.tag, "acme") == 2


def test_k3_the_header_reaches_a_child_of_a_plain_task(harness: Harness, worker: Worker) -> None:
    with harness.cache.context(tenant="acme"):
        child = harness.task("tenant.parent").delay(harness.tag).get(timeout=20)
    assert harness.app.AsyncResult(child).get(timeout=20) == f"{harness.tag}@acme"


def test_k3_the_header_reaches_a_group_and_the_body_of_a_chord(
    harness: Harness, worker: Worker
) -> None:
    of, after = harness.task("tenant.of"), harness.task("tenant.after")
    for _ in range(2):
        with harness.cache.context(tenant="acme"):
            together = group(of.s(harness.tag), of.s(harness.tag + "2")).delay()
            body = chord([of.s(harness.tag)], after.s(harness.tag)).delay()
        assert together.get(timeout=20) == [f"{harness.tag}@acme", f"{harness.tag}2@acme"]
        assert body.get(timeout=20) == f"['{harness.tag}@acme']>{harness.tag}@acme"
    assert harness.runs("tenant.after", harness.tag, "acme") == 1


def test_k3_a_name_that_celery_uses_too_means_the_users_header(
    harness: Harness, worker: Worker
) -> None:
    task = harness.app.tasks["tenant.lang"]
    with harness.cache.context(lang="de"):
        assert task.delay(harness.tag).get(timeout=20) == harness.tag
        assert task.delay(harness.tag).cache_status.hit
    assert task.delay(harness.tag).cache_status.reason == "missing-context"


@pytest.mark.parametrize("value", [None, object(), ["a"], {"a": 1}])
def test_a_context_value_that_not_every_message_carries_is_refused(
    harness: Harness, value: object
) -> None:
    with pytest.raises(TypeError, match=r"context\(tenant="), harness.cache.context(tenant=value):
        pytest.fail("the block must not run")
