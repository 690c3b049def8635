"""S4 on every Celery: what follows a hit at the producer ends, and returns what it would have."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, current_app, group

from tests.integration.groups.counting_harness import PATIENCE, CountingHarness

pytestmark = pytest.mark.one_server_kind


def step(counting_harness: CountingHarness, by: int, kind: str = "cached") -> Any:
    """A step of a chain."""
    harness = counting_harness.harness
    return harness.task(f"{kind}.more").s(harness.tag, by=by)


def plain_step(counting_harness: CountingHarness, by: int) -> Any:
    return step(counting_harness, by, "plain")


def run_first(*calls: Any) -> None:
    """Have calls in the cache that ran in the worker."""
    for call in calls:
        call.apply_async().get(timeout=PATIENCE)


def test_s4_a_chain_of_hits_returns_its_last_steps_value(counting_harness: CountingHarness) -> None:
    steps = [counting_harness.adds(1)[0], step(counting_harness, 10), step(counting_harness, 100)]
    expected = chain(*steps).apply_async().get(timeout=PATIENCE)
    for _ in range(2):
        assert chain(*steps).apply_async().get(timeout=PATIENCE) == expected == 111


def test_s4_the_callers_chain_option_is_left_as_it_was(counting_harness: CountingHarness) -> None:
    """Up to 5.5, Celery's tracer takes the next step off the list that it is given."""
    (first,) = counting_harness.adds(1)
    run_first(first)
    rest = [plain_step(counting_harness, 100), plain_step(counting_harness, 10)]
    before = list(rest)
    result = first.apply_async(chain=rest)
    assert (result.cache_status.hit, rest) == (True, before)


@pytest.mark.parametrize("kind", ["cached", "plain"])
def test_s4_a_group_after_a_hit_ends_the_callers_wait(
    counting_harness: CountingHarness, kind: str
) -> None:
    """Up to 5.6, the end of the group's own results ended the wait of the caller's."""
    (first,) = counting_harness.adds(1)
    run_first(first)
    parallel = group(step(counting_harness, by, kind) for by in (10, 100))
    assert chain(first, parallel).apply_async().get(timeout=PATIENCE) == [11, 101]


def test_s4_nested_groups_after_hits_end_the_callers_wait(
    counting_harness: CountingHarness,
) -> None:
    (first,) = counting_harness.adds(1)
    run_first(first)
    inner = chain(
        plain_step(counting_harness, 1),
        group(plain_step(counting_harness, 10), plain_step(counting_harness, 20)),
    )
    outer = chain(first, step(counting_harness, 5), group(inner, plain_step(counting_harness, 100)))
    assert outer.apply_async().get(timeout=PATIENCE) == [[17, 27], 106]
    assert outer.apply_async().get(timeout=PATIENCE) == [[17, 27], 106]


def in_another_thread(run: Callable[[], Any]) -> Any:
    """The outcome in a thread whose current app isn't the producer's."""
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(run()))
    thread.start()
    thread.join(PATIENCE)
    return outcome[0]


@pytest.mark.parametrize("run", [in_another_thread, lambda run: run()], ids=["thread", "here"])
def test_s4_a_chords_header_hit_at_the_producer_joins(
    counting_harness: CountingHarness, run: Callable[..., Any]
) -> None:
    """Up to 5.5, Celery looks for the header's results in the current app's backend."""
    header = counting_harness.adds(1, 2)
    run_first(*header)
    harness = counting_harness.harness
    collect = harness.task("plain.collect").s(harness.tag)

    def join() -> Any:
        return chord(header, collect).apply_async().get(timeout=PATIENCE)

    before = _current()
    assert run(join) == 3
    assert before is _current(), "this thread's current app is the one it was"


def _current() -> Any:
    return current_app._get_current_object()
