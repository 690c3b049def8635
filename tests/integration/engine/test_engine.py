"""The engine over Redis: what a read costs, what it never returns, and that it never raises."""

import pytest
import redis

from tests.integration.engine.process import Process, Start, call, write_garbage
from tta_taskcache.cache.outcome import Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.events import Filled, Invalidated, Lookup
from tta_taskcache.errors import EntryError, StoreUnavailable
from tta_taskcache.stores.protocol import (
    Count,
    Fill,
    Look,
    Poll,
    Scan,
    SetMarks,
)
from tta_taskcache.testing import FakeClock, FaultyStore
from tta_taskcache.testing.contract import position

# Faults


KINDS = [(), (Look,), (Poll,), (Fill,), (SetMarks,), (Scan,), (Count,)]


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "".join(k.__name__ for k in kinds))
def test_f1_no_fault_of_the_store_reaches_a_call(
    start: Start, clock: FakeClock, kinds: tuple[type, ...], *, executed: bool
) -> None:
    process = start()
    faulty = FaultyStore(process.store)
    process.store = faulty
    process.store_value("v", call("t:1"))
    faulty.fail(*kinds, executed=executed)
    for _ in range(3):
        for key in ("t:1", "t:2"):
            found = process.look(call(key))
            if isinstance(found, Miss):
                process.fill("v", found, call(key))
        clock.advance(1.0)
    faulty.heal()
    for key in ("t:1", "t:2"):
        if process.layer(call(key)) not in ("l1", "l2"):
            process.store_value("v", call(key))
        assert process.layer(call(key)) in ("l1", "l2"), "caching resumes"


def test_f1_without_a_position_nothing_is_stored(here: Process) -> None:
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(Look, times=1)
    miss = here.look()
    assert miss == Miss("unavailable", None)
    assert not here.fill("v", miss)
    assert not any(isinstance(command, Fill) for command in faulty.commands)
    assert here.layer() == "absent"


def test_f2_counts_survive_a_fault(start: Start) -> None:
    process = start()
    counters = process.engine.parts.counters
    faulty = FaultyStore(process.store)
    process.store = faulty
    for _ in range(3):
        counters(Lookup("t", "k", "pool", "l1", "", 1.0))
    before = run(process.engine.totals(), process.store).get("hit|pool|l1|t", 0)
    counters(Lookup("t", "k", "pool", "l1", "", 1.0))
    faulty.fail()
    with pytest.raises(StoreUnavailable):
        run(process.engine.totals(), process.store)
    process.clock.advance(5.0)
    process.look(call("t:2"))
    faulty.heal()
    assert run(process.engine.totals(), process.store)["hit|pool|l1|t"] == before + 1 == 4


def test_f2_events_say_what_happened(here: Process) -> None:
    here.events.clear()
    here.store_value("v")
    here.look()
    here.invalidate("t:t")
    missed, filled, hit, invalidated = here.events
    assert missed == Lookup("t", "t:k", "pool", None, "absent", seconds=0.0)
    assert isinstance(filled, Filled)
    assert (filled.reason, filled.size > 0) == ("", True)
    assert isinstance(hit, Lookup)
    assert hit == Lookup(
        "t", "t:k", "pool", "l1", "", 2.0, hit.age, "id", seconds=0.0, size=len(b'"v"')
    )
    assert 0 <= hit.age < 1
    assert invalidated == Invalidated(("t:t",), position(here.store).sequence)


# Management


def test_peek_and_scan_show_valid_entries_only(
    start: Start, here: Process, client: redis.Redis
) -> None:
    here.store_value("v")
    here.store_value("w", call("t:2"))
    found = run(here.engine.peek("t:k"), here.store)
    assert found is not None
    assert found[0].payload == b'"v"'
    assert [item.entry.key for item in run(here.engine.scan("t:2"), here.store).found] == ["t:2"]
    here.invalidate("k:t:k")
    assert run(here.engine.peek("t:k"), here.store) is None
    assert run(here.engine.peek("t:none"), here.store) is None
    assert [item.entry.key for item in run(here.engine.scan("*"), here.store).found] == ["t:2"]
    write_garbage(client, b"garbage")
    with pytest.raises(EntryError):
        run(here.engine.peek("t:k"), here.store)
