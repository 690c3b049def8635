"""`celery -A … cache`, run as people run it."""

import re
from importlib.metadata import entry_points

import pytest

from tests.integration.operating.command_line import FORECAST, Cli, lines
from tests.support.servers import Server, free_port
from tta_taskcache.celery.cli import COMMANDS, formatting

pytestmark = pytest.mark.one_server_kind


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
    assert ("--json" in text) is (command not in ("top", "dashboards"))  # stats is for machines
    assert "\\b" not in text


def test_a_misspelt_command_is_guessed(cli: Cli) -> None:
    done = cli("stat")
    assert done.returncode == 2
    assert "No such command 'stat'. Did you mean 'stats'?" in done.stderr
    assert "Did you mean" not in cli("xyz").stderr


def test_what_the_terminal_cannot_show_is_escaped(filled: Cli) -> None:
    key = min(filled.cache.keys(f"{FORECAST}:*"))
    done = filled("show", key, PYTHONIOENCODING="iso8859-5")
    assert done.returncode == 0, done.stderr
    assert "\\u2600" in done.stdout
