"""Operating live workers: remote control, the doctor, and what `top` shows in a real terminal."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration import cli_app
from tests.integration.harness import MODULE, Harness
from tests.integration.operating.command_line import Done, run_celery
from tests.support.servers import Server
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, Worker, clean_environment
from tta_taskcache import TaskCache
from tta_taskcache.core.entries.entry import FORMAT

pytestmark = pytest.mark.one_server_kind

CLI_APP = "tests.integration.cli_app"
FORECAST = f"{CLI_APP}.forecast"


@pytest.fixture
def ask(redis_server: Server) -> Callable[..., Done]:
    return lambda *args: run_celery(MODULE, redis_server.environment, *args)


# Remote control


def test_inspect_tells_of_the_cache_of_a_worker(
    harness: Harness, worker: Worker, ask: Callable[..., Done]
) -> None:
    done = ask("inspect", "taskcache", "--json", "--timeout=10", f"-d{worker.hostname}")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)[worker.hostname]
    assert (told["entry_format"], told["circuit"], told["disabled"]) == (FORMAT, "closed", False)
    assert told["store"] == harness.cache.runtime.store.name
    assert "cached.add" in told["cached_tasks"]
    assert "plain.add" not in told["cached_tasks"]
    assert told["settings"]["namespace"] == "taskcache"
    assert not {"url", "secret"} & told["settings"].keys()


def test_the_commands_are_offered(ask: Callable[..., Done]) -> None:
    assert "\n  taskcache " in ask("inspect", "--list").stdout
    offered = ask("control", "--list").stdout
    assert "\n  taskcache_disable " in offered
    assert "\n  taskcache_enable " in offered


@pytest.fixture
def switch(harness: Harness, worker: Worker) -> Iterator[Callable[[str], Any]]:
    def send(name: str) -> Any:
        ((reply,),) = (
            answer.values()
            for answer in harness.app.control.broadcast(
                f"taskcache_{name}", destination=[worker.hostname], reply=True, timeout=10, limit=1
            )
        )
        return reply

    yield send
    send("enable")


@pytest.fixture
def limit(harness: Harness, worker: Worker) -> Iterator[Callable[[str, str], Any]]:
    limited: list[str] = []

    def make(name: str, rate: str) -> None:
        harness.app.control.rate_limit(
            name, rate, destination=[worker.hostname], reply=True, timeout=10, limit=1
        )
        limited.append(name)

    yield make
    for name in limited[:]:
        make(name, "0")


@pytest.mark.parametrize(("site", "rate"), [("consumer", ""), ("pool", ""), ("consumer", "1000/s")])
def test_a_worker_that_was_told_to_leaves_the_cache_alone(
    harness: Harness,
    worker: Worker,
    switch: Callable[[str], Any],
    limit: Callable[[str, str], Any],
    site: str,
    rate: str,
) -> None:
    add = harness.task(f"{site}.add")
    if rate:
        limit(add.name, rate)
    assert switch("disable") == {"ok": "the cache is disabled here"}
    for _ in range(2):
        assert add.delay(harness.tag, 1).get(timeout=30)
    assert harness.runs("add", harness.tag, 1, 0) == 2
    assert harness.cache.keys() == []
    assert switch("enable") == {"ok": "the cache is enabled here"}
    for _ in range(2):
        assert add.delay(harness.tag, 1).get(timeout=30)
    assert harness.runs("add", harness.tag, 1, 0) == 3
    # Said once, however often it is told.
    said = worker.log.count("the cache is enabled here, by remote control")
    switch("enable")
    assert worker.log.count("the cache is enabled here, by remote control") == said >= 1


# The doctor


def findings(done: Done) -> dict[str, dict[str, Any]]:
    each = [json.loads(line) for line in done.stdout.splitlines()]
    return {finding["about"]: finding for finding in each}


def test_the_doctor_examines_a_real_cache(
    harness: Harness, worker: Worker, ask: Callable[..., Done]
) -> None:
    harness.cache.invalidate(tags=["x"])
    done = ask("cache", "doctor", "--json", "--timeout=2")
    assert (done.returncode, done.stderr) == (0, "")
    found = findings(done)
    assert re.fullmatch(r"1 marks in [\d.]+ KiB, 0 patterns in force", found["Log"]["told"])
    assert found[f"Worker {worker.hostname}"]["level"] == "ok"
    assert found["Broker"]["level"] == "advice"
    assert found["Eviction"]["remedy"].startswith("set maxmemory")
    for about in ("Server", "Latency", "Clock", "Serializer"):
        assert about in found
    assert [about for about, each in found.items() if each["first"]] == ["Eviction"]


def test_what_is_wrong_makes_the_exit_code(
    redis_server: Server, server_factory: Callable[..., Server]
) -> None:
    cache = server_factory("--maxmemory", "100mb", "--maxmemory-policy", "noeviction")
    client = cache.client(2)
    client.hset("taskcache:{log}:control", mapping={"incarnation": "i", "sequence": 5})
    client.expire("taskcache:{log}:control", 1000)
    env = redis_server.environment | {"TASKCACHE_URL": cache.url(2)}
    done = run_celery(CLI_APP, env, "cache", "doctor", "--timeout=0.5")
    assert done.returncode == 1, done.stderr
    assert "wrong   Eviction: noeviction" in done.stdout
    assert "        Remedy: set maxmemory-policy volatile-lru\n" in done.stdout
    log = r"wrong Log: 0 marks in [\d.]+ KiB, 0 patterns in force; it has an expiry Remedy: "
    assert re.search(log, " ".join(done.stdout.split()))
    assert "ok      Broker: not on the cache's Redis\n" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last == "First: set maxmemory-policy volatile-lru (Eviction)."
    assert "Traceback" not in done.stderr


def test_a_user_who_may_not_ask_gets_advice(server_factory: Callable[..., Server]) -> None:
    server = server_factory()
    rules = ["~*", "&*", "+@all", "-@dangerous", "-@admin"]
    server.client().execute_command("ACL", "SETUSER", "cache", "on", ">pw", *rules)
    url = server.url(2).replace("redis://", "redis://cache:pw@")
    done = run_celery(
        CLI_APP,
        server.environment | {"TASKCACHE_URL": url},
        *("cache", "doctor", "--json", "--timeout=0.5"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert findings(done)["Server"]["level"] == "advice"
    assert "+info" in findings(done)["Server"]["remedy"]
    assert "pw" not in done.stdout


def test_a_broker_that_is_down_is_a_finding(redis_server: Server, free_port: int) -> None:
    env = redis_server.environment | {"CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port}/0"}
    done = run_celery(CLI_APP, env, "cache", "doctor", "--json")
    assert done.returncode == 1, done.stderr
    assert findings(done)["Broker"]["level"] == "wrong"


# top


def top_of(server: Server, **options: Any) -> Terminal:
    env = clean_environment(os.environ) | server.environment
    env.pop("COLUMNS", None)
    command = [sys.executable, "-m", "celery", "-A", CLI_APP, "cache", "top", "--interval=0.1"]
    return Terminal(command, env=env, cwd=ROOT, **options)


def figures(terminal: Terminal, name: str) -> list[str]:
    """What stands behind a name, or under it."""
    lines = terminal.screen
    at = next((i for i, line in enumerate(lines) if line.split()[:1] == [name]), None)
    if at is None:
        return []
    return lines[at].split()[1:] or lines[at + 1].split()


@pytest.mark.parametrize("columns", [80, 200])
def test_top_is_live_and_survives_resizing(
    server_factory: Callable[..., Server], columns: int
) -> None:
    server = server_factory()  # which may go away: no worker depends on it
    cli_app.app.finalize()
    cache = TaskCache(cli_app.app, url=server.url(2), timeout=5)
    forecast = cli_app.app.tasks[FORECAST]

    def call(times: int) -> None:
        for _ in range(times):
            forecast.cache.call("u42", "Berlin")
        cache.stats()  # hands over what was counted

    call(3)
    with top_of(server, columns=columns) as terminal:
        wait_until(lambda: figures(terminal, FORECAST)[4:6] == ["2", "1"], timeout=30)
        call(5)
        wait_until(lambda: figures(terminal, "TOTAL")[4:6] == ["7", "1"])
        assert figures(terminal, FORECAST)[2] == "100.0%"  # the run was before
        terminal.resize(60, 12)
        wait_until(lambda: figures(terminal, FORECAST)[4:6] == ["7", "1"])
        # The name has a line of its own now.
        assert [FORECAST] in [line.split() for line in terminal.screen]
        terminal.resize(120, 30)
        wait_until(lambda: any(FORECAST in x and "100.0%" in x for x in terminal.screen))
        server.kill()
        wait_until(lambda: "can't be reached" in terminal.screen[0])
        server.restart()
        wait_until(lambda: terminal.screen[0].startswith("Rates"))
        assert terminal.interrupt() == 0


def test_top_wants_a_terminal(redis_server: Server) -> None:
    done = run_celery(CLI_APP, redis_server.environment, "cache", "top")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cache stats" in done.stderr
