"""`cache stats --plot` and `--html`: plots of days and tasks, in a terminal and on a page."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.integration.operating.command_line import FORECAST, TOTAL, Cli, lines
from tests.support.servers import Server
from tta_taskcache.stores.exchanges.key_layout import Layout

pytestmark = pytest.mark.one_server_kind

#: A name that others have written to Redis.
EVIL = "<script>alert(1)</script>\x1b[2J"


def day(ago: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=ago)).isoformat()


@pytest.fixture
def counted(cli: Cli, redis_server: Server) -> Cli:
    """Counts of three days: the second of them had none."""
    layout, client = Layout("taskcache"), redis_server.client(2)
    for ago, hits in ((0, 40), (2, 10)):
        key = layout.counts_on(day(ago))
        client.hset(key, f"hit|producer|l1|{FORECAST}", hits)
        client.hset(key, f"hit|consumer|l2|{TOTAL}", hits // 2)
        client.hset(key, f"saved|seconds||{FORECAST}", hits * 60)
        client.hset(key, f"saved|seconds||{TOTAL}", hits)
        client.hset(key, f"run|||{FORECAST}", 3)
        client.hset(key, f"ran|absent||{FORECAST}", 2)
    client.hset(layout.counts_on(day(0)), f"hit|pool|l1|{EVIL}", 1)
    return cli


class Page(HTMLParser):
    """Tags, what they load, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data.split()


def test_the_page_has_all_days_and_tasks_and_loads_nothing(counted: Cli, tmp_path: Path) -> None:
    path = tmp_path / "cache.html"
    done = counted("stats", "--html", str(path), "--since", "7d")
    assert lines(done) == [f"{path}: 76 hits and 6 runs, 50m50s saved"]
    text = path.read_text()
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "href") or name[:2] == "on"]
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert page.tags.count("svg") == 2
    # Two plots of two tasks on two days, and the third task's only hit.
    assert page.tags.count("rect") == 2 * 2 * 2 + 1
    assert {day(0), day(1), day(2)} <= set(page.text), "also the day without counts"
    assert f"<title>{day(0)}, {FORECAST}: 40</title>" in text
    assert f"<title>{day(2)}, {FORECAST}: 10m</title>" in text
    assert "absent 4, unknown 2" in text, "they add up to the six runs"
    assert "\x1b" not in text


def test_a_page_replaces_a_page_and_no_other_file(counted: Cli, tmp_path: Path) -> None:
    path = tmp_path / "cache.html"
    assert counted("stats", "--html", str(path)).returncode == 0
    assert counted("stats", "--html", str(path)).returncode == 0
    path.write_text("my own")
    done = counted("stats", "--html", str(path))
    assert (done.returncode, path.read_text()) == (2, "my own")
    assert "left alone" in done.stderr
    assert counted("stats", "--html", str(tmp_path / "no" / "cache.html")).returncode == 2


@pytest.mark.parametrize("columns", ["50", "120"])
def test_the_terminal_has_a_bar_a_day(counted: Cli, columns: str) -> None:
    output = lines(counted("stats", "--plot", COLUMNS=columns))
    assert max(map(len, output[:-1])) <= max(int(columns), len(TOTAL) + 5)
    rows = [line.split() for line in output if line.startswith(day(0)[:4])]
    assert [row[0] for row in rows] == [day(2), day(1), day(0)] * 2
    assert [row[-1] for row in rows] == ["15", "0", "61", "10m10s", "0s", "40m40s"]
    bars = [len(row[1]) if len(row) > 2 else 0 for row in rows[:3]]
    assert bars[2] == max(bars) > 10
    assert bars[0] == round(15 / 61 * bars[2])
    assert bars[1] == 0
    assert output[-1].startswith("76 hits and 6 runs, 50m50s saved; ")
    assert "\x1b[2J" not in "\n".join(output)


def test_a_terminal_without_these_characters_has_others(counted: Cli) -> None:
    output = lines(counted("stats", "--plot", PYTHONIOENCODING="latin-1"))
    assert [line for line in output if f"{day(0)}  ####" in line]


def test_without_counts_there_is_nothing_to_plot(cli: Cli, tmp_path: Path) -> None:
    for option in (("--plot",), ("--html", str(tmp_path / "x.html"))):
        done = cli("stats", *option)
        assert (done.returncode, done.stdout) == (1, "")
        assert "nothing was counted since" in done.stderr
    assert not list(tmp_path.iterdir())


def test_one_form_of_output_at_a_time(cli: Cli) -> None:
    done = cli("stats", "--plot", "--json")
    assert done.returncode == 2
    assert "exclude each other" in done.stderr
