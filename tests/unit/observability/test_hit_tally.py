"""A hit that is tallied shows in counters and metrics as its event would."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.core.events import Event, Lookup
from tta_taskcache.observability.counters import Counters
from tta_taskcache.observability.event_feed import EventFeed
from tta_taskcache.observability.metrics.cells import CellSink, MemoryCells
from tta_taskcache.observability.metrics.event_metrics import measure
from tta_taskcache.observability.metrics.hit_tally import At
from tta_taskcache.observability.observers import Observers

SECONDS = st.floats(0, 100, allow_nan=False)
Hit = tuple[str, str, float, float, float]
HITS = st.tuples(
    st.sampled_from(["t", "u"]), st.sampled_from(["l1", "l2"]), SECONDS, SECONDS, SECONDS
)


class Measured:
    def __init__(self) -> None:
        self.cells = MemoryCells()

    def __call__(self, event: Event) -> None:
        measure(event, CellSink(self.cells))

    def count_hit(self, at: At, seconds: float, run_seconds: float, cost: float) -> bool:
        self.cells.hits.add(at, seconds, run_seconds, cost)
        return True


@given(st.lists(HITS, max_size=20))
def test_f2_a_tallied_hit_counts_as_its_event_does(
    hits: list[Hit],
) -> None:
    told, tallied = (Counters(), Measured()), (Counters(), Measured())
    tell, tally = EventFeed(*told), EventFeed(*tallied)
    for task, layer, seconds, run, cost in hits:
        about = {"saved_seconds": max(0.0, run - seconds), "saved_cost": cost, "seconds": seconds}
        tell(Lookup(task, "k", "direct", layer, "", **about))
        assert tally.count_hit((task, "direct", layer), seconds, run, cost)
    assert tallied[0].totals() == pytest.approx(told[0].totals())
    assert tallied[1].cells.read() == pytest.approx(told[1].cells.read())


def test_whoever_wants_events_gets_them(caplog: pytest.LogCaptureFixture) -> None:
    at = ("t", "direct", "l1")
    seen: list[Event] = []
    feed = EventFeed(Counters(), Measured(), Observers([seen.append]))
    assert not feed.count_hit(at, 0.1, 1.0, 0.0)
    with caplog.at_level(logging.DEBUG, "tta_taskcache"):
        assert not EventFeed(Counters(), Measured()).count_hit(at, 0.1, 1.0, 0.0)
    assert EventFeed(Counters(), Measured()).count_hit(at, 0.1, 1.0, 0.0)
