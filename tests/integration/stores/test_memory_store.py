"""The store in memory, when threads share it and marks pile up."""

import threading

import pytest

from tta_taskcache.core.entries import marks
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import (
    Fill,
)
from tta_taskcache.testing import FakeClock
from tta_taskcache.testing.contract import (
    invalidate,
    poll,
    position,
)

pytestmark = pytest.mark.every_server_kind


def test_i5_memory_reads_a_log_that_grows_meanwhile() -> None:
    """Threads read while another invalidates: what they get joins, or is said to be a gap."""
    store = MemoryStore(10, 1_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            invalidate(store, "m")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for _ in range(3_000):
            since = position(store)
            looked = poll(store, since)
            assert looked.position is not None
            if looked.records is not None:
                found = [record.sequence for record in looked.records]
                expected = range(since.sequence + 1, looked.position.sequence + 1)
                assert found[: len(expected)] == list(expected)
    finally:
        stop.set()
        writer.join(10)


def test_f2_memory_forgets_marks_that_no_entry_can_meet() -> None:
    """A process that invalidates by key for months doesn't grow for ever."""
    clock = FakeClock()
    store = MemoryStore(10, 1_000, clock)
    for i in range(20_000):
        store.execute(Fill(f"k{i}", b"1", 1.0))
        invalidate(store, marks.of_key(f"k{i}"), keys=(f"k{i}",))
        clock.advance(100.0)
    assert len(store._marks) < 15_000
