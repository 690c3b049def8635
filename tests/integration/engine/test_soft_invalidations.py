"""The engine, soft invalidations: entries become stale, on every kind of mark (D2)."""

import pytest

from tests.integration.engine.process import DELTA, Process, Start, call, claim
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.decide import Verdict
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Store

CALL = call(tags=("user:1",), stale_while_revalidate=60)
MARKS = (*CALL.marks, marks.of_pattern("t:*"))


@pytest.fixture(params=["redis", "memory"])
def store(request: pytest.FixtureRequest, here: Process) -> Store:
    if request.param == "redis":
        return here.store
    return MemoryStore(100, 1_000_000, here.clock)


@pytest.mark.parametrize("mark", MARKS)
def test_d2_an_entry_is_stale_with_one_refresh(start: Start, store: Store, mark: str) -> None:
    one, two = start(store=store), start(store=store)
    one.store_value("old", CALL)
    assert two.value(CALL) == "old"
    one.invalidate(marks.soft(mark))
    one.clock.advance(DELTA + 0.001)
    found = [process.look(CALL) for process in (one, two, one, two)]
    assert [hit.value for hit in found if isinstance(hit, Hit)] == ["old"] * 4
    assert {hit.verdict for hit in found if isinstance(hit, Hit)} == {Verdict.STALE}
    assert sum(hit.refresh for hit in found if isinstance(hit, Hit)) == 1
    late = run_of(one, CALL)
    one.fill("new", late, CALL)
    one.clock.advance(DELTA + 0.001)
    for process in (one, two, start(store=store)):
        fresh = process.look(CALL)
        assert isinstance(fresh, Hit)
        assert (fresh.value, fresh.verdict) == ("new", Verdict.FRESH)


def run_of(process: Process, which: Call) -> Miss:
    """A run that begins now: its position is read as a refresh does."""
    position = run(process.engine.writer.position(which), process.store)
    return Miss("refresh", position)


def test_d2_without_a_window_it_is_gone(start: Start, store: Store) -> None:
    plain = call()
    one = start(store=store)
    one.store_value("old", plain)
    one.invalidate(marks.soft("t:t"))
    one.clock.advance(DELTA + 0.001)
    found = one.look(plain, claim())
    assert isinstance(found, Miss)
    assert found.reason == "invalidated"
    assert found.lease is not None
    assert found.lease.is_ours, "the store takes the entry for valid"


def test_d2_it_stands_in_for_a_run_that_fails(start: Start, store: Store) -> None:
    kept = call(stale_if_error=60)
    one = start(store=store)
    one.store_value("old", kept)
    one.invalidate(marks.soft("t:t"))
    one.clock.advance(DELTA + 0.001)
    assert one.value(kept) == "ended"
    stood_in = run(one.engine.refresher.find_stale_if_error(kept, "pool", ""), one.store)
    assert stood_in is not None
    assert stood_in.value == "old"


def test_d2_what_began_before_is_stale_at_birth(start: Start, store: Store) -> None:
    one = start(store=store)
    began = one.look(CALL)
    one.invalidate(marks.soft("g:user:1"))
    one.fill("late", began, CALL)
    one.clock.advance(DELTA + 0.001)
    found = one.look(CALL)
    assert isinstance(found, Hit)
    assert found.verdict is Verdict.STALE


def test_d2_the_hard_one_ends_what_a_soft_one_has_made_stale(start: Start, store: Store) -> None:
    one = start(store=store)
    for first, second in ((str, marks.soft), (marks.soft, str)):
        one.store_value("old", CALL)
        one.invalidate(first("g:user:1"))
        one.invalidate(second("g:user:1"))
        one.clock.advance(DELTA + 0.001)
        assert start(store=store).value(CALL) == "invalidated"


def test_d2_it_is_served_no_longer_than_it_would_have_been(start: Start, store: Store) -> None:
    one = start(store=store)
    one.store_value("old", CALL)
    one.invalidate(marks.soft("*"))
    one.clock.advance(119)
    if isinstance(store, MemoryStore):
        assert one.value(CALL) == "old"
        one.clock.advance(2)
        assert one.value(CALL) == "absent"
