"""``cache_semantic`` on tasks: at all three sites, and per call."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, group

from tests.integration.semantic import semantic_app
from tests.integration.semantic.semantic_app import EMBEDDED, RUNS, make_app
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import MISSING, CacheMiss, TaskCache

pytestmark = pytest.mark.one_server_kind

PATIENCE = 20


@pytest.fixture
def caller(server_factory: Callable[..., Server]) -> Iterator[Celery]:
    server = server_factory()
    urls = server.url(0), server.url(1), server.url(2)
    names = ("CELERY_BROKER_URL", "SEMANTIC_BACKEND", "SEMANTIC_CACHE")
    app = make_app(*urls)
    env = dict(zip(names, urls, strict=True))
    with Worker(semantic_app.__name__, env=env, concurrency=1):
        yield app
    app.close()


def said(app: Celery, name: str) -> list[str]:
    return [item.decode() for item in app.backend.client.lrange(name, 0, -1)]


def call(task: Any, *args: Any, **options: Any) -> Any:
    result = task.apply_async(args, **options)
    result.get(timeout=PATIENCE)
    return result


def test_a_neighbour_answers_at_each_site_and_says_so(caller: Celery) -> None:
    task = caller.tasks["answer"]
    first = call(task, "cats are what?")
    assert not first.cache_status.hit
    assert said(caller, RUNS) == ["cats are what?"]
    # Embedded once: by the caller, whose vector went with the message and into the index.
    assert said(caller, EMBEDDED) == [f"{os.getpid()} cats are what?"]
    wait_until(lambda: task.cache.get("cats?") is not MISSING, what="the neighbour")
    near = call(task, "cats, what are they?")
    status = near.cache_status
    assert (near.get(), status.hit, status.site) == ("a: cats are what?", True, "producer")
    assert 0.9 <= status.similarity < 1
    assert status.matched == "cats are what?"
    assert status.task_id == first.id
    exact = call(task, "cats are what?").cache_status
    assert (exact.hit, exact.similarity, exact.matched) == (True, None, None)
    # The dog's call, the other tenant's and the guard's veto run.
    for args in (("dogs are what?",), ("cats are what?", "b"), ("cats are not what?",)):
        assert call(task, *args).get() == f"{args[1] if args[1:] else 'a'}: {args[0]}"
    assert len(said(caller, RUNS)) == 4

    for site in ("consumer", "pool"):
        there = caller.tasks[f"{site}.answer"]
        call(there, "cats are what?")
        runs = len(said(caller, RUNS))
        assert (
            call(there, "cats, what are they?").get() == "a: cats are what?" or site == "consumer"
        )
        assert len(said(caller, RUNS)) == runs + (site == "consumer")  # which embeds nothing


def test_a_call_may_turn_it_off_or_raise_the_threshold(caller: Celery) -> None:
    task = caller.tasks["answer"]
    task.cache.set("pets", "cats are what?")
    assert call(task, "cats?").get() == "pets"
    assert call(task, "cats??", cache_semantic=False).get() == "a: cats??"
    assert call(task, "cats!", cache_semantic=0.9999).get() == "a: cats!"
    assert task.s("cats, please").set(cache_semantic=False).delay().get(timeout=PATIENCE) != "pets"
    with pytest.raises(ValueError, match="may raise it, and never lower it"):
        task.apply_async(("cats?",), cache_semantic=0.5)
    with pytest.raises(ValueError, match="has no semantic keys"):
        caller.tasks["exact"].apply_async(("cats?",), cache_semantic=0.95)
    with pytest.raises(CacheMiss):
        task.apply_async(("birds?",), cache="only")


def test_chains_groups_and_read_through_use_it(caller: Celery) -> None:
    task = caller.tasks["answer"]
    task.cache.set("pets", "cats are what?")
    assert task.cache.call("cats?") == "pets"
    assert task.cache.get("cats, eh?") == "pets"
    assert asyncio.run(task.cache.aget("cats, or?")) == "pets"
    ran = group([task.s("cats x"), task.s("cats y")]).delay()
    assert ran.get(timeout=PATIENCE) == ["pets", "pets"]
    assert said(caller, EMBEDDED)[-1] == f"{os.getpid()} cats x | cats y"  # in one call
    step = caller.tasks["exact"].si("cats are what, then?")
    # The chain's second step is sent by the worker: it finds the neighbour there.
    assert chain(step, task.si("cats, finally?")).delay().get(timeout=PATIENCE) == "pets"
    assert said(caller, RUNS) == ["cats are what, then?"]


def test_an_invalidation_ends_what_a_neighbour_would_say(caller: Celery) -> None:
    task = caller.tasks["answer"]
    task.cache.set("pets", "cats are what?")
    assert call(task, "cats?").get() == "pets"
    TaskCache(caller).invalidate(tags=["tenant:a"])
    assert call(task, "cats, now?").get() == "a: cats, now?"


def test_verification_and_shadow_mode_measure_wrong_hits(caller: Celery) -> None:
    verified, shadowed = caller.tasks["verified"], caller.tasks["shadowed"]
    for task in (verified, shadowed):
        call(task, "cats are what?")
        # This process learns of it within the staleness of its copy.
        wait_until(lambda: task.cache.explain("cats, or what?").status == "hit", what="it")  # noqa: B023
    assert call(verified, "cats, or what?").get() == "a: cats, or what?"
    assert call(shadowed, "cats are, or what?").get() == "a: cats are, or what?"

    def counted() -> dict[str, dict[str, int]]:
        stats = TaskCache(caller).stats()
        outcomes: dict[str, dict[str, int]] = {}
        for name in ("verified", "shadowed"):
            known = stats.tasks.get(name)
            for label, count in known.semantic.items() if known else ():
                kind = label.split("/")[1]
                outcomes.setdefault(name, {})[kind] = count
        return outcomes

    def are_counted() -> bool:
        # A pool process hands over its counts with what it asks of Redis next.
        call(caller.tasks["exact"], uuid4().hex)
        found = counted()
        return {"different"} <= set(found.get("verified", ())) and {"shadow", "same"} <= set(
            found.get("shadowed", ())
        )

    wait_until(are_counted, what="the workers' counts")
    stats = TaskCache(caller).stats().tasks["shadowed"]
    assert stats.shadow == {"miss": 1, "hit": 1}
    assert stats.embed_cost > 0


def test_explain_names_the_neighbours_and_why_they_dont_answer(caller: Celery) -> None:
    task = caller.tasks["answer"]
    task.cache.set("pets", "cats are what?")
    hit = task.cache.explain("cats?")
    assert hit.status == "hit"
    assert [(near.text, near.reason) for near in hit.neighbours] == [("cats are what?", "")]
    miss = task.cache.explain("cats are not what?")
    assert miss.status == "miss"
    assert [near.reason for near in miss.neighbours] == ["negation"]
    assert TaskCache(caller).stats().tasks["answer"].embed_cost == pytest.approx(0.03)  # is counted
    assert "negation: 'cats are what?'" in str(miss)
