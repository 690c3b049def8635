"""I7: a group's answers are no older than Δ when each call is made, however long that takes."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from celery import group

from tests.integration.groups.counting_harness import CountingHarness
from tests.integration.harness import Harness
from tests.support.waiting import wait_until

pytestmark = pytest.mark.one_server_kind

SIZE = 20


@pytest.mark.parametrize("staleness", [0.0, 0.05])
def test_i7_answers_of_a_group_are_no_older_than_delta(
    counting_harness_alone: CountingHarness,
    new_harness: Callable[..., Harness],
    monkeypatch: pytest.MonkeyPatch,
    staleness: float,
) -> None:
    """In the middle of a group, another process invalidates; Δ later, no old value is an answer."""
    harness = counting_harness_alone.harness
    harness.cache.runtime.engine.parts.l1.max_staleness = staleness
    counting_harness_alone.fill(*range(SIZE))
    other = new_harness(harness.server)
    add = counting_harness_alone.add
    late: list[bool] = []
    real = type(add).apply_async

    def slow(self: Any, *args: Any, **options: Any) -> Any:
        if len(late) == SIZE // 2:
            other.cache.invalidate(task="cached.add")
            acknowledged = monotonic()
            wait_until(lambda: monotonic() - acknowledged > staleness, what="Δ to pass")
        result = real(self, *args, **options)
        late.append(result.cache_status.hit)
        return result

    monkeypatch.setattr(type(add), "apply_async", slow)
    group(counting_harness_alone.adds(*range(SIZE))).apply_async()
    assert late == [True] * (SIZE // 2) + [False] * (SIZE // 2)
