"""`cache stats`."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.operating.command_line import FORECAST, MODULE, TOTAL, Cli, lines
from tests.support.servers import Server
from tta_taskcache.stores.exchanges.key_layout import Layout
from tta_taskcache.stores.exchanges.ledger import KEPT

pytestmark = pytest.mark.one_server_kind


# stats


def test_stats(filled: Cli) -> None:
    report = filled.json("stats")
    forecast, total = report["tasks"][FORECAST], report["tasks"][TOTAL]
    assert forecast["hits"] == {"direct/l2": 2}
    assert forecast["misses"] == {"direct/absent": 2}
    assert forecast["misses_by_reason"] == {"absent": 2}
    assert forecast["misses_by_site"] == {"direct": 2}
    assert forecast["run_reasons"] == {"absent": 2}
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


@pytest.mark.parametrize(
    "day", ["yesterday", "2026-13-01", "xd", "9999-01-01", "99999999999d", "0d", "-3d"]
)
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
    assert head.split()[:4] == ["TASK", "HITS", "RUNS", "RATIO"]
    by_name = {row.split()[0]: row.split()[1:] for row in rows}
    assert by_name[FORECAST][:3] == ["2", "2", "50.0%"]
    assert by_name["TOTAL"][:3] == ["2", "2", "50.0%"]
