"""Bounds that bound (F7), statistics that decide nothing (F6), and nothing exposed (X1, X2)."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from celery import Celery

from tests.integration.operating.command_line import run_celery
from tests.support.servers import Server
from tta_taskcache import CachedTask, TaskCache, Warm
from tta_taskcache.cache.engine import sweeping
from tta_taskcache.celery.calls.hot_calls import hottest
from tta_taskcache.core.arguments.call_spec import CallSpec
from tta_taskcache.core.arguments.labels import MAX_TAGS
from tta_taskcache.core.entries.entry import Entry, Position, pack
from tta_taskcache.errors import TooManyTags
from tta_taskcache.stores.sweep_commands import SweepProgress

pytestmark = pytest.mark.one_server_kind

CLI_APP = "tests.integration.cli_app"
#: Distinct calls that a process sees, far more than its memory holds.
KEYS = int(os.environ.get("BOUNDS_KEYS", "60000"))

PASSWORD, SECRET = "hunter2pw", "topsecretkey"


def same(x: Any) -> Any:
    return x


def nothing(numbers: list[int]) -> None:
    """It writes."""


def text(n: int) -> str:
    return "x" * n


def constant(value: str) -> Callable[[], str]:
    def returns() -> str:
        return value

    return returns


Made = tuple[TaskCache, Callable[..., Any]]


@pytest.fixture
def made(redis_server: Server) -> Made:
    app = Celery("bounds", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    cache = TaskCache(app, url=redis_server.url(), timeout=5.0)
    return cache, partial(app.task, base=CachedTask, shared=False)


def forged(cache: TaskCache, client: Any, key: str, head: dict[str, Any]) -> None:
    """Store an entry as anybody could who can write to Redis."""
    stored = client.hmget("taskcache:{log}:control", "incarnation", "sequence")
    values: dict[str, Any] = {
        "key": key,
        "task": "t",
        "task_id": None,
        "created_at": 0.0,
        "lifetime": 600.0,
        "fresh_for": 600.0,
        "run_seconds": 1.0,
        "born": Position(stored[0].decode(), int(stored[1] or 0)),
        "marks": ("*",),
        "serializer": "json",
        "compression": None,
        "payload": b"1",
    }
    client.set(f"taskcache:e:{{{key}}}", pack(Entry(**values | head)), px=600_000)


def test_f6_forged_figures_are_no_entry_and_fail_no_fill(made: Made, redis_server: Server) -> None:
    cache, task = made
    f = task(name="t")(same)
    f.cache.call(0)
    for i, figure in enumerate((float("inf"), float("nan"), -1.0, "1", None, True, 10**400)):
        forged(cache, redis_server.client(), f.cache.key(i + 1), {"run_seconds": figure})
        assert f.cache.call(i + 1) == i + 1
    assert cache.stats().tasks["t"].fills == {"stored": 8}


def test_f6_counters_of_any_kind_fail_nothing(made: Made, redis_server: Server) -> None:
    cache, task = made
    f = task(name="t")(same)
    client = redis_server.client()
    f.cache.call(0)
    cache.stats()
    client.hset("taskcache:{log}:counts", mapping={"fill|stored||t": "junk", b"\xff": "1", "a": 2})
    client.hset("taskcache:{log}:counts", mapping={"run|seconds||t": "inf", "x|seconds||t": "1"})
    assert f.cache.set(1, 1)
    assert cache.stats().tasks["t"].runs == 1
    for name in client.keys("taskcache:{log}:counts*"):
        client.delete(name)
        client.rpush(name, "no hash")
    assert f.cache.set(2, 2)
    cache.runtime.engine.parts.l1.entries.clear()
    assert f.cache.get(2) == 2


def test_f7_entries_with_many_and_long_tags_are_listed_and_swept(
    made: Made, redis_server: Server
) -> None:
    cache, task = made

    @task(name="t", cache_tags=lambda n: [f"{i}" + "x" * 5_000 for i in range(n)])
    def f(n: int) -> int:
        return n

    for n in (1, MAX_TAGS):
        assert f.cache.set(n, n)
    assert len(cache.keys()) == 2
    cache.invalidate(tags=[f"{MAX_TAGS - 1}" + "x" * 5_000])
    assert cache.keys() == [f.cache.key(1)]
    cache.clear()
    sweep = SweepProgress()
    while not sweep.is_over:
        sweep = cache.runtime.run(sweeping.batch(cache.runtime.engine, sweep))
    assert redis_server.client().keys("taskcache:e:*") == []


def test_f7_more_tags_than_allowed_are_a_bypass_with_a_clear_error(made: Made) -> None:
    _, task = made

    @task(name="t", cache_tags=lambda n: [str(i) for i in range(n)])
    def f(n: int) -> int:
        return n

    with pytest.raises(TooManyTags, match="at most 1,000"):
        f.cache.key(MAX_TAGS + 1)
    result = f.delay(MAX_TAGS + 1)
    assert (result.get(), result.cache_status.reason) == (MAX_TAGS + 1, "too-many-tags")


def test_f7_an_oversized_result_says_task_and_size(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    cache, task = made
    f = task(name="large", cache_max_bytes=1_000)(text)
    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        assert f.cache.call(2_000) == "x" * 2_000
    assert "task large has 2002 bytes" in caplog.text
    assert cache.stats().tasks["large"].fills == {"too-large": 1}


def test_patterns_have_a_bound(made: Made) -> None:
    cache, _ = made
    for act in (lambda p: cache.invalidate(pattern=p), cache.keys):
        with pytest.raises(ValueError, match="at most 1,000"):
            act("x" * 1_001)
    for name in ("key", "task"):
        with pytest.raises(ValueError, match="at most 10,000"):
            cache.invalidate(**{name: "x" * 10_001})
        with pytest.raises(TypeError, match=f"{name}=5"):
            cache.invalidate(**{name: 5})


def test_the_same_settings_again_change_nothing(made: Made, redis_server: Server) -> None:
    cache, task = made
    f = task(name="t")(same)
    f.cache.call(1)
    runtime = cache.runtime
    assert TaskCache(cache.app, url=redis_server.url(), enabled=True).runtime is runtime
    TaskCache(cache.app, l1_max_entries=5)
    assert cache.runtime is not runtime
    f.cache.call(1)
    assert cache.stats().tasks["t"].runs == 1
    assert sum(cache.stats().tasks["t"].hits.values()) == 1


def test_shadow_serves_nothing_when_a_run_fails(redis_server: Server) -> None:
    app = Celery("bounds", broker="memory://", backend="cache+memory://", set_as_current=False)
    TaskCache(app, url=redis_server.url(), shadow=True)
    is_down = False

    @app.task(base=CachedTask, name="t", shared=False, cache_ttl=0.001, cache_stale_if_error=3600)
    def f() -> str:
        if is_down:
            raise ConnectionError
        return "old"

    assert f.cache.call() == "old"
    is_down = True
    with pytest.raises(ConnectionError):
        f.cache.call()


def test_a_key_prefix_keeps_projects_apart(redis_server: Server) -> None:
    values = []
    for who in ("shop:", "bank"):
        url = redis_server.url()
        app = Celery("bounds", broker="memory://", backend=url, set_as_current=False)
        app.conf.result_backend_transport_options = {"global_keyprefix": who}
        TaskCache(app)
        f = app.task(base=CachedTask, name="t", shared=False)(constant(who))
        values.append(f.cache.call())
    assert values == ["shop:", "bank"]
    names = {bytes(key).split(b":")[0] for key in redis_server.client().keys("*")}
    assert names == {b"shop", b"bank"}


def test_x2_keys_of_a_signed_cache_cannot_be_guessed() -> None:
    keys = []
    for secret in ("", "one", "other"):
        app = Celery("bounds", broker="memory://", set_as_current=False)
        TaskCache(app, secret=secret)
        f = app.task(base=CachedTask, name="t", shared=False)(same)
        keys.append(f.cache.key("alice"))
    assert len(set(keys)) == 3


def test_x2_what_others_wrote_is_neither_listed_nor_warmed(redis_server: Server) -> None:
    app = Celery("bounds", broker="memory://", backend="cache+memory://", set_as_current=False)
    cache = TaskCache(app, url=redis_server.url(), timeout=5.0, secret=SECRET)
    f = app.task(base=CachedTask, name="t", shared=False, cache_warm=Warm(every=60, hot=9))(same)
    f.cache.call(1)
    client = redis_server.client()
    forged(cache, client, "t:forged", {})
    assert cache.keys() == [f.cache.key(1)]
    cache.runtime.hot_calls.flush()
    store = cache.runtime.warming_store
    assert store is not None
    (mine,) = store.hottest("t", 9)
    store.count_hot("t", [("k1", 9, '{"args": ["theirs"]}'), ("k2", 9, mine[:-3] + "2]}")], 100)
    store.count_hot("other", [("k", 1, mine)], 100)
    calls = [hottest(cache.runtime, task, 9) for task in ("t", "other")]
    assert calls == [[CallSpec((1,))], []]


def test_x1_no_password_or_secret_is_shown(redis_server: Server) -> None:
    client: Any = redis_server.client()
    client.execute_command("ACL", "SETUSER", "cache", "on", f">{PASSWORD}", "~*", "+@all")
    url = redis_server.url().replace("://", f"://cache:{PASSWORD}@")
    app = Celery("bounds", broker="memory://", set_as_current=False)
    cache = TaskCache(app, url=url, secret=SECRET)
    shown = [repr(each) for each in (cache, cache.settings, cache.runtime, cache.runtime.engine)]
    for args in (("report",), ("cache", "doctor", "--json"), ("cache", "stats")):
        done = run_celery(CLI_APP, redis_server.environment | {"TASKCACHE_URL": url}, *args)
        shown += [done.stdout, done.stderr]
    assert not re.search(f"{PASSWORD}|{SECRET}", "\n".join(shown))
    assert "taskcache_url: '********'" in shown[4]


def test_x1_what_others_wrote_commands_no_terminal(redis_server: Server) -> None:
    app = Celery(CLI_APP, broker="memory://", set_as_current=False)
    cache = TaskCache(app, url=redis_server.environment["TASKCACHE_URL"])
    app.task(base=CachedTask, name="t", shared=False)(same).cache.call(1)
    client: Any = cache.runtime.store.store.client  # type: ignore[attr-defined]
    evil = "t:\x1b]0;pwned\x07\x1b[31mFAKE:0123"
    forged(cache, client, evil, {"task": "t\x1b[2J\nt.g  9,999"})
    client.hset("taskcache:{log}:counts", "hit|pool|l1|\x1b]52;c;cm0=\x07evil", 5)
    for args in (("ls",), ("stats",), ("show", evil), ("doctor",)):
        done = run_celery(CLI_APP, redis_server.environment, "cache", *args)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr), args


def test_explain_on_a_dead_redis_exits_3(server_factory: Callable[..., Server]) -> None:
    server = server_factory()
    env = server.environment
    server.kill()
    done = run_celery(CLI_APP, env, "cache", "explain", f"{CLI_APP}.total", "[1]")
    assert done.returncode == 3, done.stdout + done.stderr


def test_the_doctor_names_tasks_that_are_no_values(made: Made, redis_server: Server) -> None:
    cache, task = made
    write = task(name=f"{CLI_APP}.total")(nothing)
    for i in range(20):
        write.cache.call([i])
    cache.hand_over_counts()
    env = redis_server.environment | {"TASKCACHE_URL": redis_server.url()}
    lines = run_celery(
        CLI_APP, env, "cache", "doctor", "--json", "--timeout=0.1"
    ).stdout.splitlines()
    told = {line["about"]: line["told"] for line in map(json.loads, lines)}
    assert "returned None" in told[f"Task {CLI_APP}.total"]


def test_the_doctor_says_when_another_app_is_there(made: Made, redis_server: Server) -> None:
    cache, task = made
    task(name="bank.balance")(same).cache.call(1)
    cache.hand_over_counts()
    env = redis_server.environment | {"TASKCACHE_URL": redis_server.url()}
    lines = run_celery(
        CLI_APP, env, "cache", "doctor", "--json", "--timeout=0.1"
    ).stdout.splitlines()
    told = {line["about"]: line["told"] for line in map(json.loads, lines)}
    assert "bank.balance" in told["Namespace"]


@pytest.mark.timeout(120 + KEYS // 2_000)
def test_f7_memory_is_what_was_allowed() -> None:
    code = """
import gc, sys, psutil
from hashlib import md5
from tta_taskcache.core.entries import marks
from tta_taskcache.celery.calls.hot_calls import hottest
from tta_taskcache.core.arguments.call_spec import CallSpec
from tta_taskcache.core.entries.entry import Entry, Position, pack, unpack
from tta_taskcache.stores.memory.l1_cache import L1Cache
def held(): gc.collect(); return psutil.Process().memory_info().rss
l1, here = L1Cache(10**9, 48_000_000, 60.0), Position("a" * 32, 0)
l1.advance(here, None, 0.0)
before = held()
for i in range(int(sys.argv[1])):
    key = "t:" + md5(str(i).encode()).hexdigest()
    tags = (f"document:{i}:".ljust(1000, "x"),)
    entry = Entry(key=key, task="t", task_id=None, created_at=1e9 + i, lifetime=600.0 + i,
        fresh_for=60.0 + i, run_seconds=0.1 + i, born=Position("a" * 32, 5000 + i),
        marks=marks.of_call("t", key, tags), serializer="json", compression=None,
        payload=b"x" * 100, traits="y" * 64)
    l1.put(unpack(key, pack(entry)), 100.0 + i, 5000 + i)
print(l1.entries.size, held() - before)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(KEYS)], capture_output=True, text=True, check=True
    )
    counted, grown = map(int, out.stdout.split())
    assert counted <= 48_000_000
    assert 0.8 * counted < grown < 1.1 * counted
