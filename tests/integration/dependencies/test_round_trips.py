"""Looks at entries with dependencies are one round trip, as others are (R3)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.integration.engine.process import DELTA, Process, Start, call, claim
from tests.support.counting import round_trips
from tests.support.servers import Server
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.cache.runs.current_run import CurrentRun
from tta_taskcache.core.entries import marks

pytestmark = pytest.mark.one_server_kind

NUMBERS = [1, 8, 64]


def store_made_from(process: Process, which: Call, number: int) -> None:
    decided = CurrentRun()
    decided.depend([marks.of_tag(f"user:{i}") for i in range(number)])
    found = process.look(which)
    assert isinstance(found, Miss)
    plan = process.engine.writer.fill(
        which, found.position, f"of {number}", run_seconds=2.0, task_id="id", decided=decided
    )
    assert run(plan, process.store)


@pytest.fixture
def trips(redis_server: Server) -> Callable[[Callable[[], Any]], int]:
    def trips(act: Callable[[], Any]) -> int:
        with round_trips(redis_server) as counted:
            act()
        return counted.count

    return trips


@pytest.mark.parametrize("number", NUMBERS)
def test_r3_d1_a_look_is_one_round_trip(start: Start, number: int, trips: Any) -> None:
    writer, knows = start(), start()
    keys = [f"t:{i}" for i in range(3)]
    for key in keys:
        store_made_from(writer, call(key), number)
    assert [trips(lambda key=key: knows.value(call(key))) for key in keys] == [1, 1, 1]
    assert trips(lambda: knows.value(call("t:0"))) == 0, "memory takes none"

    writer.invalidate("g:other")
    later = start()  # its copy of the log begins after the entries' birth
    assert [trips(lambda key=key: later.value(call(key))) for key in keys] == [2, 1, 1]

    writer.invalidate(f"g:user:{number - 1}")
    writer.clock.advance(DELTA + 0.001)
    for process in (knows, later, start()):
        assert {process.value(call(key)) for key in keys} == {"invalidated"}


def test_r3_d1_many_looks_share_a_second_round_trip(start: Start, trips: Any) -> None:
    writer = start()
    calls = [call(f"t:{i}") for i in range(20)]
    for which in calls:
        store_made_from(writer, which, 3)
    writer.invalidate("g:other")
    later = start()

    def look() -> None:
        found = run(later.engine.reader.find_many(calls, [None] * 20), later.store)
        assert {hit.value for hit in found if isinstance(hit, Hit)} == {"of 3"}
        assert len(found) == 20
        later.engine.parts.l1.entries.clear()

    assert trips(look) == 2
    assert trips(look) == 1


def test_r3_d1_a_miss_after_an_invalidation_is_two_round_trips(start: Start, trips: Any) -> None:
    writer, knows, later = start(), start(), start()
    which = call("t:0")
    store_made_from(writer, which, 8)
    later.engine.reader.judgement.with_own_marks.add("t")
    for process in (later, knows):
        writer.invalidate("g:user:3")
        looks = 1 if process is later else 2
        assert trips(partial(lead, process, which)) == looks + 1, (
            "without the marks, the store takes the entry for valid"
        )
        writer.invalidate(marks.of_key(which.key))
        store_made_from(writer, which, 8)


def lead(process: Process, which: Call) -> None:
    """Look, and run and fill as the leader."""
    found = process.look(which, claim("a"))
    assert isinstance(found, Miss)
    assert found.lease is not None
    assert found.lease.is_ours
    assert process.fill("new", found, which, owner="a")
