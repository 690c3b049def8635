"""Dependencies and soft invalidations on the command line (D1, D2)."""

from typing import Any

import pytest

from tests.integration.operating.command_line import FORECAST, TOTAL, Cli, keys
from tta_taskcache import MISSING
from tta_taskcache.cache.runs.current_run import CurrentRun
from tta_taskcache.celery.calls.identification import request_of_caller

pytestmark = pytest.mark.one_server_kind


@pytest.fixture
def made(cli: Cli) -> dict[str, str]:
    """A total that was made from the forecast of Berlin, and one that was made from nothing."""
    forecast, total = cli.task(FORECAST), cli.task(TOTAL)
    forecast.cache.call("u42", "Berlin")
    total.cache.set(1, [1])
    runtime = cli.cache.runtime
    call = request_of_caller(total, ([6],), {}).identified()
    source = request_of_caller(forecast, ("u42", "Berlin"), {}).identified()
    decided = CurrentRun()
    decided.depend(source.marks)
    writer = runtime.engine.writer
    position = runtime.run(writer.position(call))
    fill: Any = writer.fill(call, position, 6, run_seconds=1.0, task_id=None, decided=decided)
    assert runtime.run(fill)
    return {"source": source.key, "made": call.key, "plain": total.cache.key([1])}


def test_d1_listing_what_was_made_from_a_key(cli: Cli, made: dict[str, str]) -> None:
    listed = cli.json("ls", "--made-from", made["source"])
    assert (listed["key"], listed["made_from"]) == (made["made"], [made["source"]])
    assert cli("ls", "--made-from", "no:such:key").returncode == 1


def test_d1_showing_what_an_entry_was_made_from(cli: Cli, made: dict[str, str]) -> None:
    assert cli.json("show", made["made"])["made_from"] == [made["source"]]
    assert cli.json("show", made["plain"])["made_from"] == []
    assert made["source"] in cli("show", made["made"]).stdout
    explained = cli.task(TOTAL).cache.explain([6])
    assert explained.made_from == (made["source"],)
    cli.json("invalidate", "--key", made["source"])
    assert made["made"] not in keys(cli)


@pytest.mark.parametrize("named", ["--key", "--task", "--tag", "--pattern", "--all"])
def test_d2_soft_invalidations_leave_entries_where_they_are(
    cli: Cli, made: dict[str, str], named: str
) -> None:
    """These tasks have no stale window: nobody is served what is there."""
    what = {"--key": made["source"], "--task": FORECAST, "--tag": "user:u42", "--pattern": "*"}
    arguments = [named, what[named]] if named in what else [named, "--yes"]
    done = cli.json("invalidate", *arguments, "--soft")
    assert done["soft"] is True
    assert made["source"] in keys(cli), "it is stale, and not gone"
    forecast, total = cli.task(FORECAST), cli.task(TOTAL)
    assert forecast.cache.get("u42", "Berlin") is MISSING
    assert total.cache.get([6]) is MISSING, "what was made from it is as stale"
    assert (total.cache.get([1]) is MISSING) == (named in ("--all", "--pattern"))
