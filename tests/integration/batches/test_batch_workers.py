"""Batches (D5) in real workers: at the producer, in the main process, in the pool."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import chord, group
from celery.exceptions import WorkerLostError

from tests.integration.batches.conftest import PATIENCE, BatchHarness, count_commands
from tests.support.waiting import wait_until
from tta_taskcache.stores.protocol import Poll

pytestmark = pytest.mark.one_server_kind

New = Callable[..., BatchHarness]
Work = Callable[..., Any]


def texts(*numbers: int) -> list[str]:
    return [f"t{number}" for number in numbers]


def made(*numbers: int) -> list[str]:
    return [f"<t{number}>" for number in numbers]


def test_d5_the_body_gets_what_is_missing(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches)
    ask = batches.embed.delay
    assert ask(batches.tag, texts(1, 2)).get(timeout=PATIENCE) == made(1, 2)
    some = ask(batches.tag, texts(3, 2, 4, 3))
    assert some.get(timeout=PATIENCE) == made(3, 2, 4, 3)
    assert (some.cache_status.hit, some.cache_status.reason) == (False, "partial")
    assert batches.sizes() == [2, 2]
    assert batches.ran() == dict.fromkeys(texts(1, 2, 3, 4), 1)
    every = ask(batches.tag, texts(4, 1))
    assert every.cache_status.hit
    assert every.cache_status.site == "producer"
    assert every.get(timeout=PATIENCE) == made(4, 1)
    assert batches.app.AsyncResult(every.id).get(timeout=PATIENCE) == made(4, 1)
    assert batches.sizes() == [2, 2]


def test_d5_results_by_item_and_its_headers(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches)
    prices = batches.task("prices")
    for tenant in ("a", "b"):
        with batches.cache.context(tenant=tenant):
            first = prices.delay(batches.tag, [3, 1, 3]).get(timeout=PATIENCE)
            assert first == ["3 €", "1 €", "3 €"]
            assert prices.delay(batches.tag, [1]).cache_status.hit
    assert batches.sizes("prices") == [2, 2]
    assert prices.delay(batches.tag, [2, 2]).get(timeout=PATIENCE) == ["2 €", "2 €"], "no header"
    assert batches.sizes("prices") == [2, 2, 2]


def test_d5_a_hit_needs_no_pool_process(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches, concurrency=1)
    batches.task("gate").delay(batches.tag)
    assert batches.app.run_counts.blpop([f"waiting:{batches.tag}"], timeout=PATIENCE)
    batches.embed.cache.set(made(1, 2), batches.tag, texts(1, 2))
    results = [
        batches.embed.apply_async((batches.tag, numbers), countdown=0.01)  # not at the producer
        for numbers in (texts(2, 1), texts(1), [])
    ]
    assert [result.get(timeout=PATIENCE) for result in results] == [made(2, 1), made(1), []]
    batches.app.run_counts.rpush(f"go:{batches.tag}", 1)


def test_d5_who_waits_for_an_item_holds_no_slot(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches, concurrency=2)
    batches.shut()
    first = batches.embed.delay(batches.tag, texts(1, 2))
    assert batches.started() == texts(1, 2)
    others = [batches.embed.delay(batches.tag, texts(2, n)) for n in range(3, 8)]
    wait_until(lambda: batches.waiting() == 5, what="messages that wait")
    assert batches.task("plain").delay(7).get(timeout=PATIENCE) == 7, "a slot is free"
    batches.open(*["go"] * 6)
    assert first.get(timeout=PATIENCE) == made(1, 2)
    assert [one.get(timeout=PATIENCE) for one in others] == [made(2, n) for n in range(3, 8)]
    assert batches.ran() == dict.fromkeys(texts(*range(1, 8)), 1)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_d5_eight_callers_with_overlapping_lists(pool: str, new_batches: New, work: Work) -> None:
    batches = new_batches()
    for _ in range(2):
        work(batches, concurrency=2, pool=pool)
    lists = [texts(*range(start, start + 100)) for start in range(0, 400, 50)]
    results = [batches.embed.delay(batches.tag, each) for each in lists]
    for each, result in zip(lists, results, strict=True):
        assert result.get(timeout=PATIENCE) == [f"<{text}>" for text in each]
    ran = batches.ran()
    assert len(ran) == 450
    assert {text: times for text, times in ran.items() if times > 1} == {}, "each ran once"


def test_d5_when_the_leader_fails_a_follower_runs(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches, concurrency=2)
    batches.shut()
    failing = batches.embed.delay(batches.tag, texts(1, 2))
    assert batches.started() == texts(1, 2)
    follower = batches.embed.delay(batches.tag, texts(2, 3))
    wait_until(lambda: batches.waiting() == 1, what="a message that waits")
    batches.open("fail")
    with pytest.raises(ValueError, match=batches.tag):
        failing.get(timeout=PATIENCE)
    assert batches.started() == texts(2, 3)
    batches.open()
    assert follower.get(timeout=PATIENCE) == made(2, 3)
    assert batches.embed.cache.get(batches.tag, texts(3)) == made(3)


def test_d5_a_run_that_asks_for_its_own_items_waits_for_nobody(
    new_batches: New, work: Work
) -> None:
    batches = new_batches()
    work(batches, concurrency=2)
    inner = [f"inner {text}" for text in texts(1, 2)]
    assert batches.task("inside").delay(batches.tag, texts(1, 2)).get(timeout=PATIENCE) == inner


def test_d5_in_groups_chords_and_chains(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches, concurrency=2)
    embed, collect = batches.embed, batches.task("sum")
    for _ in range(2):  # cold, and answered by the cache
        steps = [embed.s(batches.tag, texts(n, n + 1)) for n in range(3)]
        assert group(steps)().get(timeout=PATIENCE) == [made(n, n + 1) for n in range(3)]
        assert chord(steps)(collect.s()).get(timeout=PATIENCE) == 6
        chain = embed.si(batches.tag, texts(0, 1)) | batches.task("plain").s()
        assert chain.delay().get(timeout=PATIENCE) == made(0, 1)
    assert set(batches.ran().values()) == {1}


def test_d5_stale_items_are_refreshed_by_one_message(new_batches: New, work: Work) -> None:
    batches = new_batches()
    rates = batches.task("rates")
    assert rates.cache.call(batches.tag, ["a", "b", "c"]) == [1, 1, 1]
    wait_until(
        lambda: all(one.stale for one in rates.cache.explain(batches.tag, ["a", "b", "c"]).items)
    )
    commands = count_commands(batches)
    result = rates.delay(batches.tag, ["b", "a", "b"])
    assert (result.get(timeout=PATIENCE), result.cache_status.stale) == ([1, 1, 1], True)
    kinds = [type(command).__name__ for command in commands if not isinstance(command, Poll)]
    assert kinds in (["LookMany", "Together"], ["Together"]), "one look, and one claim for both"
    assert batches.sent == 1
    work(batches)
    wait_until(lambda: batches.sizes("rates") == [3, 2], what="one run for both")
    assert batches.ran("rates") == {"a": 2, "b": 2, "c": 1}


def test_d5_c3_when_the_leaders_process_is_gone_a_follower_runs(
    new_batches: New, work: Work
) -> None:
    batches = new_batches()
    worker = work(batches, concurrency=2)
    batches.shut()
    lost = batches.embed.delay(batches.tag, texts(1, 2))
    assert batches.started() == texts(1, 2)
    follower = batches.embed.delay(batches.tag, texts(2, 3))
    wait_until(lambda: batches.waiting() == 1, what="a message that waits")
    for pid in worker.pool_pids():
        os.kill(pid, signal.SIGKILL)
    assert batches.started() == texts(2, 3)
    batches.open()
    assert follower.get(timeout=PATIENCE) == made(2, 3)
    with pytest.raises(WorkerLostError):
        lost.get(timeout=PATIENCE)


def test_d5_maps_and_warming_go_item_by_item(new_batches: New, work: Work) -> None:
    batches = new_batches()
    work(batches, concurrency=1)
    report = batches.embed.cache.warm([[batches.tag, texts(1, 2)], [batches.tag, texts(2, 3)]])
    assert (report.stored, report.failed) == (2, 0)
    assert batches.ran() == dict.fromkeys(texts(1, 2, 3), 1)
    again = batches.embed.cache.warm([[batches.tag, texts(3, 1)], [batches.tag, texts(3, 4)]])
    assert (again.fresh, again.stored) == (1, 1)
    assert batches.ran() == dict.fromkeys(texts(1, 2, 3, 4), 1)
    lists = [(batches.tag, texts(1, 5)), (batches.tag, texts(5, 2))]
    mapped = batches.embed.starmap(lists).delay().get(timeout=PATIENCE)
    assert mapped == [made(1, 5), made(5, 2)]
    assert batches.ran()["t5"] == 1
