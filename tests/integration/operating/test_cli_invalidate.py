"""`cache invalidate`."""

import json
import os
import pty
import re

import pytest

from tests.integration.operating.command_line import (
    BROKER,
    FORECAST,
    MODULE,
    TOTAL,
    Cli,
    keys,
    lines,
)
from tests.support.servers import Server, free_port

pytestmark = pytest.mark.one_server_kind


def snapshot(server: Server) -> dict[bytes, bytes | None]:
    client = server.client(2)
    return {name: client.dump(name) for name in client.scan_iter()}


# invalidate


def test_invalidate_keys(filled: Cli) -> None:
    ended, kept = (filled.task(FORECAST).cache.key("u42", c) for c in ("Berlin", "Rome/Ostia"))
    done = filled.json("invalidate", "--key", ended, "--key", "no:such:key")
    assert done["entries"] == 1
    assert kept in keys(filled)
    assert ended not in keys(filled)


def test_invalidate_tasks(filled: Cli) -> None:
    assert filled.json("invalidate", "--task", FORECAST)["entries"] == 2
    assert keys(filled) == {filled.task(TOTAL).cache.key([1, 2, 3])}
    filled.task(FORECAST).cache.call("u42", "Berlin")
    assert filled.json("invalidate", "--task", FORECAST, "--task", TOTAL)["entries"] == 2
    assert not keys(filled)


def test_invalidate_all(filled: Cli) -> None:
    done = filled.json("invalidate", "--all", "--yes")
    assert done == {
        "dry_run": False,
        "entries": None,
        "queued_as": None,
        "keys": [],
        "tasks": [],
        "tags": [],
        "patterns": [],
        "all": True,
        "soft": False,
    }
    assert not keys(filled)


def test_invalidate_all_asks(filled: Cli) -> None:
    done = filled("invalidate", "--all")
    assert done.returncode == 2
    assert "3 entries" in done.stderr
    assert "--yes" in done.stderr
    assert len(keys(filled)) == 3


@pytest.mark.parametrize(("answer", "left", "code"), [(b"y\n", 0, 0), (b"n\n", 3, 1)])
def test_invalidate_all_obeys_the_answer(filled: Cli, answer: bytes, left: int, code: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = filled("invalidate", "--all", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code
    assert len(keys(filled)) == left


def test_invalidate_asks_for_tasks_with_many_entries(cli: Cli) -> None:
    total = cli.task(TOTAL)
    for number in range(101):
        total.cache.set(number, [number])
    assert cli("invalidate", "--task", TOTAL).returncode == 2
    assert len(keys(cli)) == 101
    assert cli("invalidate", "--task", TOTAL, "--yes").returncode == 0
    assert not keys(cli)


def test_a_dry_run_changes_nothing(filled: Cli, redis_server: Server) -> None:
    before = snapshot(redis_server)
    assert filled.json("invalidate", "--task", FORECAST, "--dry-run")["entries"] == 2
    assert filled.json("invalidate", "--all", "--dry-run")["entries"] == 3
    assert filled.json("invalidate", "--all", "--dry-run", "--yes")["entries"] == 3
    nothing = filled("invalidate", "--key", "no:such:key", "--dry-run")
    assert nothing.returncode == 1
    assert snapshot(redis_server) == before


@pytest.mark.parametrize("name", ["forcast", "plain"])
def test_invalidate_warns_of_a_task_that_is_not_cached(filled: Cli, name: str) -> None:
    done = filled("invalidate", "--task", f"{MODULE}.{name}", "--json")
    assert (done.returncode, json.loads(done.stdout)["entries"]) == (0, 0)
    assert done.stderr.startswith(f"Warning: '{MODULE}.{name}'")
    assert (f"did you mean '{FORECAST}'" in done.stderr) == (name == "forcast")


@pytest.mark.parametrize("args", [(), ("--all", "--key", "k"), ("--task", "t", "--tag", "g")])
def test_invalidate_wants_one_kind(cli: Cli, args: tuple[str, ...]) -> None:
    done = cli("invalidate", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--key, --task, --tag, --pattern or --all" in done.stderr


@pytest.mark.parametrize(
    ("kind", "name", "left"),
    [("--tag", "city:Berlin", 2), ("--tag", "user:u42", 1), ("--pattern", f"{FORECAST}:*", 1)],
)
def test_invalidate_tags_and_patterns(filled: Cli, kind: str, name: str, left: int) -> None:
    before = len(keys(filled))
    dry = filled.json("invalidate", kind, name, "--dry-run")
    assert (dry["entries"], len(keys(filled))) == (before - left, before)
    done = filled.json("invalidate", kind, name)
    assert done["entries"] == before - left
    assert done[f"{kind[2:]}s"] == [name]
    assert len(keys(filled)) == left


@pytest.mark.parametrize("kind", ["--tag", "--pattern"])
def test_invalidate_several_counts_each_entry_once(filled: Cli, kind: str) -> None:
    names = {"--tag": ("user:u42", "city:Berlin"), "--pattern": (f"{FORECAST}:*", "*:*Berlin*")}
    first, second = names[kind]
    done = filled("invalidate", kind, first, kind, second, kind, first)
    assert lines(done) == [f"Invalidated {kind[2:]}s {first}, {second}: 2 entries ended."]
    assert len(keys(filled)) == 1


def test_invalidate_wants_a_pattern_that_is_one(filled: Cli) -> None:
    done = filled("invalidate", "--pattern", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be a glob" in done.stderr
    assert len(keys(filled)) == 3


@pytest.mark.parametrize("args", [("--tag", "user:u1"), ("--pattern", "*forecast:*")])
def test_invalidate_asks_for_tags_and_patterns_with_many(cli: Cli, args: tuple[str, str]) -> None:
    for number in range(101):
        cli.task(FORECAST).cache.set(number, "u1", str(number))
    done = cli("invalidate", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "101 entries" in done.stderr
    assert lines(cli("invalidate", *args, "--yes"))
    assert not keys(cli)


def test_invalidate_queues(filled: Cli, redis_server: Server) -> None:
    done = filled.json("invalidate", "--tag", "city:Berlin", "--queue")
    assert (done["entries"], len(keys(filled))) == (1, 3)
    (message,) = redis_server.client(BROKER).lrange("celery", 0, -1)
    headers = json.loads(message)["headers"]
    assert (headers["task"], headers["id"]) == ("tta_taskcache.invalidate", done["queued_as"])
    told = filled("invalidate", "--tag", "city:Berlin", "--queue", "--yes")
    assert re.match(r"Queued as task [0-9a-f-]{36}: invalidate tag city:Berlin\.", told.stdout)


def test_invalidate_queues_while_redis_is_down(cli: Cli, redis_server: Server) -> None:
    down = f"redis://127.0.0.1:{free_port()}"
    urls = {"TASKCACHE_URL": down, "CELERY_RESULT_BACKEND": down}
    done = cli("invalidate", "--key", "a:b", "--queue", "--yes", **urls)
    assert lines(done)[0].startswith("Queued as task ")
    assert redis_server.client(BROKER).llen("celery") == 1


def test_invalidate_without_a_broker(filled: Cli) -> None:
    broker = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"}
    queued = filled("invalidate", "--tag", "city:Berlin", "--queue", **broker)
    assert (queued.returncode, queued.stdout) == (3, "")
    assert queued.stderr.startswith("Error: not queued")
    assert len(keys(filled)) == 3
    done = filled("invalidate", "--pattern", "*", **broker)
    assert lines(done) == ["Invalidated pattern *: 3 entries ended."]
    assert done.stderr.startswith("Warning: what was invalidated keeps its memory")
    assert not keys(filled)
