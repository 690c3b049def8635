"""Warming: what is fresh is skipped, the rest is run, within its bounds, whatever comes of it."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import signals
from celery.app import trace

from tests.integration.warming.warm_app import make_app
from tests.integration.warming.warm_harness import MODULE, WarmHarness, Workers
from tests.support.counting import round_trips
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from tta_taskcache import ConfigurationError, StoreUnavailable, TaskCache
from tta_taskcache.celery.calls.hot_calls import hottest, record_hot_call
from tta_taskcache.celery.calls.identification import request_of_caller
from tta_taskcache.celery.warming import warm_task
from tta_taskcache.celery.warming import warmer as warming


def test_calls_are_run_once_and_then_fresh(warm_harness: WarmHarness) -> None:
    first = warm_harness.task("page").cache.warm(warm_harness.calls(300))
    assert (first.total, first.sent, first.stored, first.in_flight) == (300, 300, 300, 0)
    assert warm_harness.all_runs("page") == [1] * 300
    second = warm_harness.cache.warm("page", warm_harness.calls(300))
    assert (second.total, second.fresh, second.sent) == (300, 300, 0)
    assert warm_harness.task("page").delay(warm_harness.tag, 7).cache_status.hit
    third = warm_harness.cache.warm("page", warm_harness.calls(3), refresh=True)
    assert (third.total, third.fresh, third.stored) == (3, 0, 3)
    assert sorted(warm_harness.all_runs("page")) == [1] * 297 + [2] * 3


def test_results_are_looked_up_together(own_warm_harness: WarmHarness) -> None:
    page = own_warm_harness.task("page")
    for n in range(400):
        page.cache.set(n, own_warm_harness.tag, n)
    assert page.cache.warm(own_warm_harness.calls(1)).fresh == 1  # connects
    with round_trips(own_warm_harness.server) as trips:
        assert page.cache.warm(own_warm_harness.calls(400)).fresh == 400
    # 40 KB of commands go out in pieces; a look at each call would be 400.
    assert trips.count < 40


def test_neither_rate_nor_calls_in_flight_pass_their_bounds(warm_harness: WarmHarness) -> None:
    done = warm_harness.task("page").cache.warm(warm_harness.calls(300), rate=150, in_flight=10)
    assert done.stored == 300
    assert max(outstanding for _, outstanding in warm_harness.sent) <= 10
    times = [at for at, _ in warm_harness.sent]
    # The signal comes a moment after the pace has let it go.
    assert all(sum(start <= at < start + 1 for at in times) <= 150 + 15 for start in times)


def test_a_million_calls_are_never_held(own_warm_harness: WarmHarness) -> None:
    """No more are read ahead than are looked up together."""
    page = own_warm_harness.task("page")
    read = 0

    def calls() -> Iterator[list[Any]]:
        nonlocal read
        for n in range(1_000_000):
            read += 1
            yield [own_warm_harness.tag, n]

    warmer = warming.Warmer(page, warm_task.Sending(in_flight=5))
    source = warm_task.read_calls(calls(), "page")
    assert not warmer.run(source, until=0.0), "nobody runs them"
    assert warmer.progress.done.sent == 5
    assert read == warming.AT_ONCE


def test_a_failing_call_holds_nothing_up(warm_harness: WarmHarness) -> None:
    warm_harness.tag = f"fails{warm_harness.tag}"
    done = warm_harness.task("page").cache.warm(warm_harness.calls(70), in_flight=3)
    assert (done.total, done.sent, done.stored, done.failed) == (70, 70, 60, 10)
    again = warm_harness.task("page").cache.warm(warm_harness.calls(70), in_flight=3)
    assert (again.fresh, again.sent, again.failed) == (60, 10, 10)


@pytest.mark.parametrize("how", ["deadly", "endless"])
def test_a_call_whose_process_dies_holds_nothing_up(warm_harness: WarmHarness, how: str) -> None:
    done = warm_harness.task(how).cache.warm(warm_harness.calls(2), in_flight=1)
    assert (done.sent, done.failed) == (2, 2)


def test_a_call_that_is_revoked_holds_nothing_up(warm_harness: WarmHarness) -> None:
    page = warm_harness.task("page")
    ids: list[str] = []

    def revoke(headers: Any = None, **_: Any) -> None:
        ids.append(headers["id"])
        warm_harness.app.control.revoke(headers["id"], reply=True, timeout=5, limit=1)

    signals.before_task_publish.connect(revoke, sender="page", weak=False)
    try:
        done = page.cache.warm(warm_harness.calls(2))
    finally:
        signals.before_task_publish.disconnect(revoke, sender="page")
    assert (done.sent, done.failed) == (2, 2)
    assert not warm_harness.all_runs("page")


@pytest.mark.parametrize(("task", "outcome"), [("again", "stored"), ("skipped", "unstored")])
def test_what_comes_of_calls(warm_harness: WarmHarness, task: str, outcome: str) -> None:
    done = warm_harness.task(task).cache.warm(warm_harness.calls(10))
    assert (done.sent, getattr(done, outcome)) == (10, 10)


def test_no_result_backend_is_needed(warm_harness: WarmHarness) -> None:
    app = make_app(
        warm_harness.server.url(0),
        warm_harness.server.url(1),
        warm_harness.server.url(2),
        result_backend="disabled://",
    )
    app.finalize()
    warm_harness.tag = f"fails{warm_harness.tag}"
    done = TaskCache(app).warm("page", warm_harness.calls(14))
    assert (done.stored, done.failed) == (12, 2)
    kept = warm_harness.server.client(1).keys("celery-task-meta-*")
    # Up to 5.5, Celery stores failures whatever the message says of its result.
    assert len(kept) == (0 if hasattr(trace, "get_actual_ignore_result") else 2), kept
    app.close()


def test_context_is_part_of_a_call(warm_harness: WarmHarness) -> None:
    calls = [{"args": [warm_harness.tag], "context": {"tenant": name}} for name in "ab"]
    with warm_harness.cache.context(tenant="c"):
        done = warm_harness.task("tenants").cache.warm([*calls, [warm_harness.tag]])
    assert done.stored == 3
    assert warm_harness.task("tenants").cache.warm([*calls, [warm_harness.tag]]).uncacheable == 1
    for name in "abc":
        with warm_harness.cache.context(tenant=name):
            assert warm_harness.task("tenants").delay(warm_harness.tag).cache_status.hit


def test_equal_calls_in_flight_are_not_repeated(warm_harness: WarmHarness) -> None:
    gated = warm_harness.task("gated")
    gated.delay(warm_harness.tag, 1)
    wait_until(lambda: warm_harness.runs("gated", warm_harness.tag, 1))
    warm_harness.app.run_counts.rpush(f"open:{warm_harness.tag}", 1)
    assert gated.cache.warm([[warm_harness.tag, 1]]).in_flight == 0
    assert warm_harness.all_runs("gated") == [1]


def test_queue_and_priority(own_warm_harness: WarmHarness) -> None:
    warmer = warming.Warmer(
        own_warm_harness.task("page"), warm_task.Sending(in_flight=1, queue="slow", priority=9)
    )
    assert not warmer.run(warm_task.read_calls(own_warm_harness.calls(1), "page"), until=0.0)
    (name,) = [
        name for name in own_warm_harness.server.client(0).scan_iter() if name.startswith(b"slow")
    ]
    (message,) = own_warm_harness.server.client(0).lrange(name, 0, -1)
    assert json.loads(message)["properties"]["priority"] == 9


def test_signatures_and_files_are_calls(warm_harness: WarmHarness, tmp_path: Path) -> None:
    page, file = warm_harness.task("page"), tmp_path / "calls.jsonl"
    file.write_text(
        f'["{warm_harness.tag}", 1]\n\n{{"tag": "{warm_harness.tag}", "n": 2}}\n'
        f'{{"args": ["{warm_harness.tag}"], "kwargs": {{"n": 3}}}}\n'
    )
    assert page.cache.warm(file).stored == 3
    assert page.cache.warm(str(file)).fresh == 3
    done = page.cache.warm([page.s(warm_harness.tag, 3), page.si(warm_harness.tag, n=4)])
    assert (done.fresh, done.stored) == (1, 1)


def test_wrong_calls_name_where_they_are(warm_harness: WarmHarness, tmp_path: Path) -> None:
    page, file = warm_harness.task("page"), tmp_path / "calls.jsonl"
    for n in (1, 2):
        page.cache.set(n, warm_harness.tag, n)
    file.write_text(f'["{warm_harness.tag}", 1]\n[\n')
    with pytest.raises(ValueError, match=r"calls\.jsonl, line 2: no JSON"):
        page.cache.warm(file)
    file.write_text(f'["{warm_harness.tag}", 1]\n["a", 1, 2]\n')
    with pytest.raises(ValueError, match=r"calls\.jsonl, line 2: takes 2 positional"):
        page.cache.warm(file)
    with pytest.raises(ValueError, match=r"call 2: 7: must be a list"):
        page.cache.warm([[warm_harness.tag, 1], 7])
    with pytest.raises(ValueError, match=r"call 1: a signature of 'gated', not of 'page'"):
        page.cache.warm([warm_harness.task("gated").s(1)])
    for wrong in (7, b"x", {"a": 1}):
        with pytest.raises(TypeError, match="must be an iterable of calls"):
            page.cache.warm(wrong)
    with pytest.raises(FileNotFoundError):
        page.cache.warm(tmp_path / "none")


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("pages", {"calls": []}, "'pages' is unknown to this app; did you mean 'page'?"),
        ("own", {"calls": []}, "'own' isn't a cached task"),
        (3, {"calls": []}, "warm\\(\\): 3"),
        ("page", {}, "give either calls or hot="),
        ("page", {"calls": [], "hot": 1}, "give either calls or hot="),
        ("page", {"hot": 0}, "hot=0"),
        ("page", {"calls": [], "rate": 0}, "rate=0"),
        ("page", {"calls": [], "in_flight": 0}, "in_flight=0"),
    ],
)
def test_wrong_arguments(
    warm_harness: WarmHarness, task: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        warm_harness.cache.warm(task, **options)


def test_a_cache_that_is_not_shared_is_not_warmed(warm_harness: WarmHarness) -> None:
    app = make_app(warm_harness.server.url(0), "cache+memory://", warm_harness.server.url(2))
    app.conf.taskcache_url = None
    app.finalize()
    with pytest.raises(ConfigurationError, match="set taskcache_url"):
        TaskCache(app).warm("page", [])


def test_what_is_down_is_said(warm_harness: WarmHarness) -> None:
    down = f"redis://127.0.0.1:{free_port()}/0"
    app = make_app(warm_harness.server.url(0), warm_harness.server.url(1), down)
    app.finalize()
    with pytest.raises(StoreUnavailable):
        TaskCache(app).warm("page", [["a", 1]])


def test_killed_in_the_middle_a_second_run_does_the_rest(
    warm_harness: WarmHarness, tmp_path: Path
) -> None:
    number, file = 300, tmp_path / "calls.jsonl"
    file.write_text("".join(f"{json.dumps(call)}\n" for call in warm_harness.calls(number)))
    command = warm_harness.command("page", str(file), "--in-flight", "20")
    first = subprocess.Popen(command, env=warm_harness.env, cwd=ROOT, stderr=subprocess.PIPE)
    wait_until(lambda: len(warm_harness.all_runs("page")) > number / 4, timeout=60)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = len(warm_harness.all_runs("page"))
    assert before < number
    done = warm_harness.cache.warm("page", file)
    assert done.total == number
    assert done.fresh >= before - 20
    assert warm_harness.all_runs("page") == [1] * number


def test_a_message_that_warms_comes_twice(own_warm_harness: WarmHarness, works: Workers) -> None:
    """Its first worker was killed, and took what it was told of its calls along."""
    warmer = warming.Warmer(own_warm_harness.task("page"), warm_task.Sending(in_flight=50))
    source = warm_task.read_calls(own_warm_harness.calls(50), "page")
    warmer.run(source, until=0.0)
    before = warmer.progress.dump()
    left = len(warmer.progress.flight)
    assert left == 50, "nobody runs them yet"
    works()
    aside = own_warm_harness.cache.runtime.warming_store
    assert aside is not None
    taken: list[str] = []

    def all_taken() -> bool:
        taken.extend(aside.take_outcomes(warmer.progress.run))
        return len(taken) == left

    wait_until(all_taken, what="all receipts")
    progress = warming.WarmProgress.load(before)
    again = warming.Warmer(
        own_warm_harness.task("page"), warm_task.Sending(in_flight=50), progress=progress
    )
    assert again.run(iter(()))
    assert again.progress.done.stored == 50
    assert own_warm_harness.all_runs("page") == [1] * 50


# As a Celery task.


def enqueue(warm_harness: WarmHarness, *args: Any, **kwargs: Any) -> None:
    warm_harness.app.tasks["tta_taskcache.warm"].delay(*args, **kwargs)


def test_a_worker_of_one_process_warms_too(own_warm_harness: WarmHarness, works: Workers) -> None:
    """It waits for calls that only it could run: in slices, between which it does."""
    worker = works(pool="solo", concurrency=1)
    enqueue(own_warm_harness, "page", list(own_warm_harness.calls(40)), in_flight=15)
    wait_until(lambda: "warmed page" in worker.log, timeout=60)
    assert "total=40, fresh=0, uncacheable=0, sent=40, stored=40" in worker.log
    assert own_warm_harness.all_runs("page") == [1] * 40


def test_a_worker_reads_a_file_and_goes_on_after_a_kill(
    own_warm_harness: WarmHarness, works: Workers, tmp_path: Path
) -> None:
    number, file = 200, tmp_path / "calls.jsonl"
    file.write_text("".join(f"{json.dumps(call)}\n" for call in own_warm_harness.calls(number)))
    first = works()
    enqueue(own_warm_harness, "page", str(file), in_flight=20)
    wait_until(lambda: len(own_warm_harness.all_runs("page")) > number / 4, timeout=60)
    first.kill()
    assert len(own_warm_harness.all_runs("page")) < number
    second = works()
    enqueue(own_warm_harness, "page", str(file), in_flight=20)
    wait_until(lambda: "warmed page" in second.log, timeout=90)
    runs = own_warm_harness.all_runs("page")
    assert len(runs) == number
    assert sum(runs) <= number + 2, "but for what ran when it was killed, each ran once"


def test_a_slice_outlasts_redis(
    own_warm_harness: WarmHarness, server_factory: Callable[..., Server], worker_factory: Workers
) -> None:
    held = server_factory()
    env = own_warm_harness.env | {"TASKCACHE_URL": held.url(2)}
    held.kill()
    worker = worker_factory(MODULE, env=env)
    enqueue(own_warm_harness, "page", list(own_warm_harness.calls(3)))
    wait_until(lambda: "] retry: " in worker.log, timeout=30)
    held.restart()
    wait_until(lambda: "warmed page" in worker.log, timeout=60)
    assert own_warm_harness.all_runs("page") == [1] * 3


# Hot calls.


def learn(warm_harness: WarmHarness, name: str, times: int) -> None:
    task = warm_harness.task("popular")
    request = request_of_caller(task, (name,), {})
    for _ in range(times):
        record_hot_call(request, request.identified())
    warm_harness.cache.runtime.hot_calls.flush()


def test_the_most_requested_calls_are_warmed(warm_harness: WarmHarness) -> None:
    for name, times in (("a", 1), ("b", 5), ("c", 3)):
        learn(warm_harness, name, times)
    learn(warm_harness, "a", 1)  # of another process, say
    done = warm_harness.task("popular").cache.warm(hot=2)
    assert done.stored == 2
    assert [warm_harness.runs("popular", name) for name in "abc"] == [0, 1, 1]
    calls = hottest(warm_harness.cache.runtime, "popular", 10)
    assert [call.args for call in calls] == [("b",), ("c",), ("a",)]
    assert not hottest(warm_harness.cache.runtime, "page", 10)


def test_requests_are_learnt_wherever_they_are_answered_each_once(
    own_warm_harness: WarmHarness, works: Workers
) -> None:
    worker, tag = works(), own_warm_harness.tag
    everywhere, there = own_warm_harness.task("popular"), own_warm_harness.task("popular_there")
    gated = own_warm_harness.task("popular_gated")
    for task, asked in ((everywhere, 4), (there, 3)):  # producer's hits, consumer's hits
        assert [task.delay(tag).get(timeout=20) for _ in range(asked)] == [tag] * asked
    results = [gated.delay(tag) for _ in range(5)]  # one that runs, and followers
    wait_until(lambda: own_warm_harness.runs("popular_gated", tag) == 1, what="the leader")
    own_warm_harness.app.run_counts.rpush(f"open:{tag}", *range(9))
    assert [result.get(timeout=20) for result in results] == [tag] * 5
    own_warm_harness.task("popular_again").delay(tag).get(timeout=20)
    everywhere.apply_async((tag,), cache="refresh").get(timeout=20)
    own_warm_harness.cache.warm("popular", [["warmed"]])
    worker.stop()  # its processes hand over what they have counted
    own_warm_harness.cache.hand_over_counts()
    client = own_warm_harness.server.client(2)

    def counted(name: str) -> list[float]:
        found = client.zrange(f"taskcache:h:{{{name}}}", 0, -1, withscores=True)
        return [score for _, score in found]

    assert counted("popular") == [4.0]
    assert counted("popular_there") == [3.0]
    assert counted("popular_gated") == [5.0]
    assert counted("popular_again") == [1.0]


def test_calls_that_were_learnt_and_fit_no_more_are_left_out(warm_harness: WarmHarness) -> None:
    """The task has changed since, or somebody else writes there: the rest is warmed."""
    aside = warm_harness.cache.runtime.warming_store
    assert aside is not None
    calls = ['{"args": ["a"]}', '{"args": [1, 2, 3]}', '{"kwargs": {"gone": 1}}', "[", "7"]
    aside.count_hot("popular", [(f"k{n}", 1, call) for n, call in enumerate(calls)], 100)
    done = warm_harness.task("popular").cache.warm(hot=9)
    assert (done.total, done.stored) == (1, 1)


def test_what_is_hot_and_about_to_expire_is_refreshed(warm_harness: WarmHarness) -> None:
    popular = warm_harness.task("popular")
    learn(warm_harness, "a", 1)
    assert popular.cache.warm(hot=1).stored == 1
    assert popular.cache.warm(hot=1).fresh == 1, "an hour is longer than a second"
    warmer = warming.Warmer(popular, warm_task.Sending(), horizon=7200)
    assert warmer.run(warm_task.read_calls([["a"]], "popular"))
    assert warmer.progress.done.stored == 1
    assert warm_harness.runs("popular", "a") == 2
