"""`cache ls` and `cache show`."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.operating.command_line import FORECAST, MODULE, TOTAL, Cli, keys, lines
from tests.support.servers import Server
from tta_taskcache.core.entries.entry import Entry, Position, pack
from tta_taskcache.core.entries.marks import of_call

pytestmark = pytest.mark.one_server_kind


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
