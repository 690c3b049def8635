"""`celery -A … cache`, run as people run it."""

import fcntl
import json
import os
import pickle
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.integration.operating import cli_app
from tests.support.proxy import Proxy
from tests.support.servers import Server, free_port
from tests.support.workers import ROOT, clean_environment
from tta_taskcache import TaskCache
from tta_taskcache.cache import sweeping
from tta_taskcache.celery.cli import formatting
from tta_taskcache.core.entry import Entry, Position, pack
from tta_taskcache.core.marks import of_call, of_task
from tta_taskcache.stores.key_layout import Layout
from tta_taskcache.stores.ledger import KEPT
from tta_taskcache.stores.sweep_commands import SweepProgress

pytestmark = pytest.mark.one_server_kind

BROKER = 5

MODULE = "tests.integration.operating.cli_app"
FORECAST, TOTAL = f"{MODULE}.forecast", f"{MODULE}.total"
Done = subprocess.CompletedProcess[str]
COMMANDS = ("stats", "top", "ls", "show", "explain", "invalidate", "sweep", "warm", "doctor")


@dataclass
class Cli:
    """Runs the command, on an app whose cache `cache` sees as another process does."""

    env: dict[str, str]
    cache: TaskCache

    def __call__(self, *args: str, stdin: Any = subprocess.DEVNULL, **env: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", MODULE, "cache", *args],
            env=clean_environment(os.environ) | self.env | env,
            cwd=ROOT,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *args: str, **env: str) -> Any:
        done = self(*args, "--json", **env)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def task(self, name: str) -> Any:
        return self.cache.app.tasks[name]


@pytest.fixture
def cli(redis_server: Server) -> Cli:
    urls = {
        # Not where workers of other tests take messages.
        "CELERY_BROKER_URL": redis_server.url(BROKER),
        "CELERY_RESULT_BACKEND": redis_server.url(1),
        "TASKCACHE_URL": redis_server.url(2),
    }
    cli_app.app.finalize()
    return Cli(urls, TaskCache(cli_app.app, url=redis_server.url(2), timeout=5))


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Three entries of two tasks, one of them read twice."""
    forecast, total = cli.task(FORECAST), cli.task(TOTAL)
    for city in ("Berlin", "Rome/Ostia"):
        forecast.cache.call("u42", city)
    forecast.cache.call("u42", "Berlin")
    forecast.cache.call("u42", "Berlin")
    total.cache.set(6, [1, 2, 3])
    cli.cache.stats()  # hands over what this process counted
    return cli


def keys(cli: Cli) -> set[str]:
    return set(cli.cache.keys())


def snapshot(server: Server) -> dict[bytes, bytes | None]:
    client = server.client(2)
    return {name: client.dump(name) for name in client.scan_iter()}


def lines(done: Done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_entry_point_is_this_group() -> None:
    (found,) = entry_points(group="celery.commands", name="cache")
    assert tuple(found.load().list_commands(None)) == COMMANDS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "<1ms"),
        (0.085, "85ms"),
        (0.9996, "1.0s"),
        (9.96, "10s"),
        (59.6, "1m"),
        (303, "5m3s"),
        (3600, "1h"),
        (86_399.9, "1d"),
        (180_000, "2d2h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1049, "1.0kB"), (999_960, "1.0MB"), (5e12, "5000.0GB")],
)
def test_sizes(count: float, text: str) -> None:
    assert formatting.size(count) == text


# stats


def test_stats(filled: Cli) -> None:
    report = filled.json("stats")
    forecast, total = report["tasks"][FORECAST], report["tasks"][TOTAL]
    assert forecast["hits"] == {"direct/l2": 2}
    assert forecast["misses"] == {"direct/absent": 2}
    assert forecast["misses_by_reason"] == {"absent": 2}
    assert forecast["hit_ratio"] == 0.5
    assert (forecast["runs"], forecast["entries"]) == (2, 2)
    # It takes no time: not much is saved, if anything.
    assert 0 <= forecast["saved_seconds"] <= forecast["run_seconds"]
    # Its entry was set: it has never run.
    assert (total["runs"], total["entries"], total["hit_ratio"]) == (0, 1, None)
    assert report["total"]["entries"] == 3
    assert report["total"]["size_bytes"] == forecast["size_bytes"] + total["size_bytes"] > 0
    assert report["total"]["hit_ratio"] == 0.5
    assert report["namespace"] == "taskcache"
    assert report["total"]["coalesced"] == forecast["coalesced"] == 0


def test_stats_tells_which_hits_waited_for_a_call_in_flight(filled: Cli) -> None:
    runtime = filled.cache.runtime
    runtime.run(runtime.engine.totals())
    runtime.engine.parts.counters.put_back({f"coalesced|||{FORECAST}": 1})
    filled.cache.stats()
    report = filled.json("stats")
    assert report["tasks"][FORECAST]["coalesced"] == report["total"]["coalesced"] == 1
    wide, narrow = (lines(filled("stats", COLUMNS=columns)) for columns in ("200", "80"))
    assert "COALESCED" in wide[0]
    assert sum("1 of 2 hits" in line for line in wide) == 2
    assert sum(line.split()[:1] == ["coalesced"] for line in narrow) == 2


def test_stats_has_a_ledger_by_task_and_day(filled: Cli, redis_server: Server) -> None:
    """Counted on three days: what was before the first that is asked for is left out."""
    layout, client = Layout("taskcache"), redis_server.client(2)
    today = datetime.now(UTC).date()
    filled.cache.stats()
    on = {days: layout.counts_on((today - timedelta(days=days)).isoformat()) for days in (1, 2, 3)}
    for days, key in on.items():
        client.hset(key, f"hit|producer|l1|{FORECAST}", days)
        client.hset(key, f"saved|cost||{FORECAST}", days * 1000.5)
        client.hset(key, f"saved|seconds||{TOTAL}", days * 60)
    report = filled.json("stats", "--since", "3d")
    assert report["since"] == (today - timedelta(days=2)).isoformat()
    assert report["total"]["hits"] == {"direct/l2": 2, "producer/l1": 3}
    assert report["total"]["saved_cost"] == 3001.5
    assert report["tasks"][TOTAL]["saved_seconds"] == 180
    assert len(report["days"]) == 3
    assert report["days"][(today - timedelta(days=2)).isoformat()][FORECAST]["saved_cost"] == 2001
    assert 0 < client.ttl(layout.counts_on(today.isoformat())) <= KEPT * 86_400
    output = filled("stats", "--since", (today - timedelta(days=2)).isoformat(), COLUMNS="200")
    text = output.stdout
    assert "COST SAVED" in text.splitlines()[0]
    assert [line.split()[0] for line in text.partition("DAY")[2].splitlines()[1:5]] == [
        *((today - timedelta(days=days)).isoformat() for days in (2, 1, 0)),
        "TOTAL",
    ]
    assert "3,001.50" in text
    assert "COST SAVED" not in filled("stats", "--since", "1d").stdout, "nobody has costs"


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "xd", "9999-01-01", "99999999999d"])
def test_stats_refuses_what_is_no_day(cli: Cli, day: str) -> None:
    done = cli("stats", "--since", day)
    assert done.returncode == 2
    assert "'--since'" in done.stderr


def test_stats_names_cached_tasks_that_were_never_called(cli: Cli) -> None:
    tasks = cli.json("stats")["tasks"]
    assert FORECAST in tasks
    assert tasks[FORECAST]["hit_ratio"] is None
    assert f"{MODULE}.plain" not in tasks
    assert not [name for name in tasks if name.startswith("celery.")]


def test_stats_counts_invalidations_of_the_command_itself(filled: Cli) -> None:
    filled("invalidate", "--all", "--yes")
    report = filled.json("stats")
    assert (report["invalidations"], report["total"]["entries"]) == (1, 0)


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_stats_fits_the_terminal(filled: Cli, columns: str) -> None:
    output = lines(filled("stats", COLUMNS=columns))
    assert max(map(len, output)) <= max(int(columns), len(output[-1]))
    assert not [line for line in output if "…" in line or line != line.rstrip()]
    # Names are whole, and figures are under their heads.
    assert [line for line in output if line.split()[0] == FORECAST]
    heads = next(line for line in output if "RATIO" in line)
    end = heads.index("RATIO") + len("RATIO")
    # Of the task that was called, and of all; the one that was only set has no ratio.
    assert sum(line[:end].endswith("%") for line in output) == 2


def test_stats_is_one_line_a_task_when_piped(filled: Cli) -> None:
    head, *rows = lines(filled("stats"))
    assert head.split()[:3] == ["TASK", "HITS", "RATIO"]
    by_name = {row.split()[0]: row.split()[1:] for row in rows}
    assert by_name[FORECAST][:4] == ["2", "50.0%", "2", "2"]
    assert by_name["TOTAL"][:4] == ["2", "50.0%", "2", "2"]


# ls


def test_ls(filled: Cli) -> None:
    output = lines(filled("ls", "--json"))
    found = {entry["key"]: entry for entry in map(json.loads, output)}
    assert found.keys() == keys(filled)
    entry = found[filled.task(TOTAL).cache.key([1, 2, 3])]
    assert (entry["task"], entry["tags"]) == (TOTAL, [])
    berlin = found[filled.task(FORECAST).cache.key("u42", "Berlin")]
    assert berlin["tags"] == ["city:Berlin", "user:u42"]
    assert entry["lifetime_seconds"] == 7200
    assert 0 <= entry["age_seconds"] < 60
    assert entry["age_seconds"] + entry["expires_in_seconds"] == pytest.approx(7200, abs=0.01)
    assert entry["size_bytes"] > 100


def test_ls_matches_globs(filled: Cli) -> None:
    output = lines(filled("ls", f"{FORECAST}:*:B?rl[ai]n:*", "--json"))
    assert [json.loads(line)["key"] for line in output] == [
        filled.task(FORECAST).cache.key("u42", "Berlin")
    ]


def test_ls_sorts(filled: Cli) -> None:
    filled.task(TOTAL).cache.set(10**500, [9])

    def listed(field: str, sort: str) -> list[Any]:
        return [json.loads(line)[field] for line in lines(filled("ls", "--sort", sort, "--json"))]

    assert listed("key", "key") == sorted(keys(filled))
    assert (sizes := listed("size_bytes", "size")) == sorted(sizes, reverse=True)
    assert (ages := listed("age_seconds", "age")) == sorted(ages)
    assert listed("key", "size")[0] == filled.task(TOTAL).cache.key([9])


def test_ls_says_how_many_it_left_out(filled: Cli) -> None:
    done = filled("ls", "--limit", "2", "--json")
    assert len(lines(done)) == 2
    assert done.stderr.startswith("1 entry of 3 left out")
    assert len(lines(filled("ls", "--limit", "0", "--json"))) == 3


def test_ls_without_a_match(filled: Cli) -> None:
    done = filled("ls", FORECAST, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"did you mean '{FORECAST}:*'?" in done.stderr


@pytest.mark.parametrize("columns", ["80", "200"])
def test_ls_fits_the_terminal(filled: Cli, columns: str) -> None:
    output = lines(filled("ls", COLUMNS=columns))
    names = keys(filled)
    # A key is never cut: it can be copied. It is all that may be longer than a line.
    assert {line.split()[0] for line in output} >= names
    assert all(len(line) <= int(columns) or line in names for line in output)
    assert len(output) == (8 if columns == "80" else 4)


def test_names_are_neither_markup_nor_emoji(cli: Cli) -> None:
    task = cli.task(f"{MODULE}.labelled")
    task.cache.set(1, "heart")
    key = task.cache.key("heart")
    assert ":heart:" in key
    assert key in lines(cli("ls"))[1]


# show


def test_show(filled: Cli) -> None:
    key = filled.task(FORECAST).cache.key("u42", "Berlin")
    shown = filled.json("show", key)
    assert shown["value"] == {"user": "u42", "city": "Berlin", "outlook": "Schön ☀"}
    assert (shown["key"], shown["task"], shown["task_id"]) == (key, FORECAST, None)
    assert (shown["serializer"], shown["compression"]) == ("json", None)
    assert shown["tags"] == ["city:Berlin", "user:u42"]
    assert shown["marks"] == list(of_call(FORECAST, key, shown["tags"]))
    (listed,) = (e for e in map(json.loads, lines(filled("ls", "--json"))) if e["key"] == key)
    assert shown["size_bytes"] == listed["size_bytes"]
    output = "\n".join(lines(filled("show", key)))
    assert key in output
    assert "\nTags         city:Berlin, user:u42\n" in output
    assert '"outlook": "Schön ☀"' in output


@pytest.mark.parametrize("value", [None, 0, "", [], False])
def test_show_an_empty_value(cli: Cli, value: Any) -> None:
    task = cli.task(TOTAL)
    task.cache.set(value, [1])
    shown = cli.json("show", task.cache.key([1]))
    assert shown["value"] == value
    assert type(shown["value"]) is type(value)


def test_show_never_hands_control_characters_to_the_terminal(cli: Cli) -> None:
    task = cli.task(TOTAL)
    task.cache.set("\x1b[31mred\x9b2J\x07", [1])
    tagged = cli.task(FORECAST)
    tagged.cache.set(1, "\x1b[31m", "\x9b")
    shown = [cli("show", key).stdout for key in keys(cli)]
    assert any("\\u001b[31m" in text for text in shown)
    assert not {character for character in "".join(shown) if not character.isprintable()} - {"\n"}


def test_show_a_number_that_json_has_not(cli: Cli) -> None:
    task = cli.task(TOTAL)
    task.cache.set([float("nan"), float("inf")], [1])
    assert cli.json("show", task.cache.key([1]))["value"] == ["nan", "inf"]


def test_show_nothing(filled: Cli) -> None:
    done = filled("show", "no:such:key", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cache ls" in done.stderr


class Bomb:
    """Leaves a file behind when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def store(server: Server, key: str, serializer: str, payload: bytes) -> None:
    client: Any = server.client(2)
    incarnation = client.hget("taskcache:{log}:control", "incarnation").decode()
    entry = Entry(
        key=key,
        task=TOTAL,
        task_id="a-task",
        created_at=0.0,
        lifetime=60.0,
        fresh_for=60.0,
        run_seconds=1.5,
        born=Position(incarnation, 0),
        marks=of_call(TOTAL, key),
        serializer=serializer,
        compression=None,
        payload=payload,
    )
    client.set(f"taskcache:e:{{{key}}}", pack(entry), px=60_000)


def test_show_never_unpickles(filled: Cli, redis_server: Server, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    store(redis_server, "a:bomb", "pickle", pickle.dumps(Bomb(mine)))
    shown = filled.json("show", "a:bomb")
    assert "value" not in shown
    assert "pickle" in shown["value_withheld"]
    assert "not shown" in filled("show", "a:bomb").stdout
    assert not mine.exists()


def test_show_reads_yaml(filled: Cli, redis_server: Server) -> None:
    store(redis_server, "a:b", "yaml", b"{a: [1, 2]}")
    assert filled.json("show", "a:b")["value"] == {"a": [1, 2]}


def test_show_bytes_that_are_no_entry(filled: Cli, redis_server: Server) -> None:
    redis_server.client(2).set("taskcache:e:{a:b}", b"anything", px=60_000)
    done = filled("show", "a:b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "corrupt" in done.stderr


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


# sweep


def entries(server: Server) -> int:
    return sum(1 for _ in server.client(2).scan_iter(match="taskcache:e:*"))


def swept(cli: Cli, batches: int = 0) -> SweepProgress:
    """Ask for a sweep, and do so much of it."""
    runtime, now = cli.cache.runtime, SweepProgress()
    runtime.run(sweeping.request())
    for _ in range(batches):
        now = runtime.run(sweeping.batch(runtime.engine, now))
    return now


@pytest.fixture
def ended(cli: Cli) -> Cli:
    """300 entries that have ended, and one that hasn't; no sweep was asked for."""
    for number in range(300):
        cli.task(TOTAL).cache.set(number, [number])
    runtime = cli.cache.runtime
    runtime.run(runtime.engine.invalidate((of_task(TOTAL),)))
    cli.task(FORECAST).cache.set(1, "u42", "Berlin")
    return cli


def test_sweep(ended: Cli, redis_server: Server) -> None:
    done = ended("sweep")
    assert re.fullmatch(r"Swept \d+ keys: 300 entries dropped, [\d.]+kB freed\.\n", done.stdout)
    assert re.search(r"^100% (\d+)/\1 keys, 300 dropped, ", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr
    assert entries(redis_server) == len(keys(ended)) == 1
    again = ended.json("sweep")
    assert (again["dropped"], again["freed_bytes"]) == (0, 0)
    assert again["keys"] > 0


def test_sweep_takes_over_where_one_stands_still(ended: Cli, redis_server: Server) -> None:
    left = swept(ended, 1)
    assert left.cursor
    done = ended("sweep")
    assert done.returncode == 0, done.stderr
    assert "following it" in done.stderr
    assert "going on with it from here" in done.stderr
    assert "300 entries dropped" in done.stdout, "what was dropped before is counted"
    assert entries(redis_server) == 1


def test_sweep_takes_over_one_that_never_began(ended: Cli, redis_server: Server) -> None:
    swept(ended)
    assert ended.json("sweep")["dropped"] == 300
    assert entries(redis_server) == 1


def test_sweep_follows_another(ended: Cli, redis_server: Server) -> None:
    now, runtime = swept(ended, 1), ended.cache.runtime
    with started(ended, "sweep") as (process, told):
        told("following it")
        while not now.is_over:
            now = runtime.run(sweeping.batch(runtime.engine, now))
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "300 entries dropped" in output
    assert "going on with it" not in errors
    assert entries(redis_server) == 1


def test_sweep_interrupted_leaves_the_rest_to_the_next(ended: Cli, redis_server: Server) -> None:
    with Proxy(redis_server.port) as proxy, started(ended, "sweep", url=proxy.url(2)) as sweeps:
        proxy.delay(0.1)  # a batch then takes far longer than a signal
        process, told = sweeps
        told("/")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert re.search(r"^Error: interrupted at \d\d%; the next sweep goes on", errors, re.MULTILINE)
    assert "Traceback" not in errors
    left = entries(redis_server)
    assert 1 < left < 301
    done = ended("sweep")
    assert "going on with it from here" in done.stderr
    assert "300 entries dropped" in done.stdout
    assert entries(redis_server) == 1


def test_sweep_on_a_terminal(ended: Cli, redis_server: Server) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with started(ended, "sweep", stderr=theirs) as (process, _):
        os.close(theirs)
        drawn = b""
        with suppress(OSError):  # its other end is closed
            while part := os.read(ours, 4096):
                drawn += part
        output, _ = process.communicate(timeout=60)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert re.search(r"━ +100% (\d+)/\1 keys, 300 dropped, [\d.]+kB freed", text)
    assert all(len(line) < 80 for line in re.split(r"[\r\n]+", text))
    assert output.startswith("Swept ")
    assert entries(redis_server) == 1


def test_sweep_interrupted_while_it_follows(ended: Cli, redis_server: Server) -> None:
    swept(ended, 1)
    with started(ended, "sweep") as (process, told):
        told("following it")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert re.search(r"^Error: interrupted at \d+%; it goes on without us$", errors, re.MULTILINE)
    assert "Traceback" not in errors
    assert ended.json("sweep")["dropped"] == 300
    assert entries(redis_server) == 1


@contextmanager
def started(
    cli: Cli, *args: str, url: str = "", stderr: int = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], None]]]:
    """The command, running; and what waits until it says something on stderr."""
    env = clean_environment(os.environ) | {"TERM": "xterm"} | cli.env
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", MODULE, "cache", *args],
        env=env | ({"TASKCACHE_URL": url} if url else {}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )

    def told(words: str) -> None:
        assert process.stderr is not None
        assert any(words in line for line in process.stderr), words

    try:
        yield process, told
    finally:
        process.kill()
        process.communicate()


# What goes wrong

EACH = [("stats",), ("ls",), ("show", "k"), ("invalidate", "--all", "--yes"), ("sweep",)]


@pytest.mark.parametrize("args", EACH, ids=lambda args: args[0])
def test_redis_that_cannot_be_reached(cli: Cli, args: tuple[str, ...]) -> None:
    port = free_port()
    done = cli(*args, "--json", TASKCACHE_URL=f"redis://me:hush@127.0.0.1:{port}/2")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port}/2" in done.stderr
    assert "refused" in done.stderr
    assert "hush" not in done.stderr


def test_redis_that_hangs(cli: Cli, redis_server: Server) -> None:
    redis_server.pause()
    done = cli("stats")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1


def test_an_app_without_redis(cli: Cli) -> None:
    done = cli("stats", TASKCACHE_URL="", CELERY_RESULT_BACKEND="cache+memory://")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing shared to see" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_app_whose_cache_is_off(filled: Cli) -> None:
    done = filled("ls", "--json", TASKCACHE_DISABLED="1")
    assert len(lines(done)) == 3
    assert "caching is off" in done.stderr


@pytest.mark.parametrize("url", ["http://localhost", "redis://:hu/sh@localhost:1/2"])
def test_a_wrong_setting(cli: Cli, url: str) -> None:
    done = cli("ls", TASKCACHE_URL=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "taskcache_url" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hu" not in done.stderr


# Help


def test_help(cli: Cli) -> None:
    text = "\n".join(lines(cli("--help", COLUMNS="80")))
    for command in COMMANDS:
        assert f"\n  {command} " in text
    for code in ("0  done", "1  nothing found", "2  wrong usage", "3  the cache can't be reached"):
        assert f"\n    {code}" in text


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_of_each_command(cli: Cli, command: str, columns: str) -> None:
    text = "\n".join(lines(cli(command, "--help", COLUMNS=columns)))
    assert re.search(f"Examples?:\n    celery -A proj cache {command}", text)
    assert ("--json" in text) is (command != "top")  # stats is for machines
    assert "\\b" not in text
