"""What the figures of `cache stats` add up to: made-up streams of calls on a real worker."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from celery import group
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.operating.summed_app import MODULE, TASKS, make_app
from tests.support.results import take_leave
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import CacheMiss, TaskCache
from tta_taskcache.observability.counters import TaskStats

pytestmark = pytest.mark.one_server_kind

#: Streams of calls.
EXAMPLES = int(os.environ.get("SUMS_EXAMPLES", "2"))

WAYS = ("returned", "returned", "returned", "failed", "retry", "ignore", "reject")

#: Ways without a result to wait for.
ENDLESS = ("ignore", "reject")

calls = st.tuples(
    st.sampled_from(sorted(TASKS)),
    st.sampled_from(("one", "one", "direct", "group", "later")),
    st.sampled_from(("use", "use", "use", "refresh", "bypass", "no-store", "only")),
    st.sampled_from(WAYS),
    st.integers(0, 2),
)


class Caller:
    """Makes calls, and counts them by task and by the way in which their runs end."""

    def __init__(self, server: Server) -> None:
        self.app = make_app(server.url(0), server.url(1), server.url(2))
        self.cache = TaskCache(self.app)
        self.made: Counter[tuple[str, str]] = Counter()
        self._results: list[Any] = []

    def make(self, name: str, how: str, mode: str, way: str, number: int) -> None:
        task = self.app.tasks[name]
        if how == "direct":
            if way in ("returned", "failed"):  # the others are a worker's
                self.made[name, way] += 1
                with suppress(ValueError):
                    task.cache.call(way, number)
        elif how == "group":  # equal calls are in flight together
            self.made[name, way] += 4
            numbers = (number, number, number + 1, number + 1)
            self._wait_for(way, *group(task.s(way, n) for n in numbers).apply_async().results)
        else:
            options = {"countdown": 0.05} if how == "later" else {}
            with suppress(CacheMiss):
                self._wait_for(way, task.apply_async((way, number), cache=mode, **options))
                self.made[name, way] += 1

    def _wait_for(self, way: str, *results: Any) -> None:
        if way not in ENDLESS:
            self._results += results

    def ends(self, name: str) -> dict[str, int]:
        return {end.decode(): int(n) for end, n in self.app.ends.hgetall(f"ends:{name}").items()}

    def wait(self) -> None:
        """Wait until all calls have ended."""
        for result in self._results:
            result.get(timeout=30, propagate=False)
        for (name, way), count in self.made.items():
            if way in ENDLESS:  # each of them runs
                wait_until(partial(self._has_ended, name, way, count), what=f"{name}, {way}")

    def _has_ended(self, name: str, way: str, count: int) -> bool:
        return self.ends(name).get(way, 0) == count


def check(stats: TaskStats, made: int, ends: dict[str, int]) -> None:
    """The sums that docs/operating.md promises."""
    hits, misses = sum(stats.hits.values()), sum(stats.misses.values())
    without_result = {end: n for end, n in ends.items() if end != "returned"}
    assert stats.runs == ends.get("returned", 0), "each run that returned is counted once"
    assert sum(stats.run_reasons.values()) == stats.runs, "by its reason as well"
    assert stats.no_results == without_result, "and each that ended otherwise"
    ended = sum(without_result.values()) - without_result.get("retry", 0)
    assert hits + stats.runs + ended == made, "each call is answered, or runs"
    assert sum(stats.fills.values()) <= stats.runs + stats.no_results.get("failed", 0)
    assert stats.coalesced <= hits
    if not stats.shadow:  # whose looks are counted there
        assert misses >= stats.runs + ended, "a run comes after a miss, or several"


@pytest.mark.timeout(240)
def test_f2_each_call_is_a_hit_or_a_run_and_each_run_has_a_reason(
    server_factory: Callable[..., Server],
) -> None:
    @settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=HealthCheck)
    @given(st.lists(calls, min_size=60, max_size=120))
    def stream(made: list[tuple[str, str, str, str, int]]) -> None:
        server = server_factory()
        caller = Caller(server)
        env = server.environment | {"SUMMED_CACHE": server.url(2)}
        try:
            with Worker(MODULE, env=env, concurrency=2):
                for call in made:
                    caller.make(*call)
                caller.wait()
            counted = caller.cache.stats().tasks  # the worker has handed over its own at its end
            for name in TASKS:
                of_task = sum(n for (task, _), n in caller.made.items() if task == name)
                check(counted.get(name, TaskStats()), of_task, caller.ends(name))
        finally:
            take_leave(caller.app)
            caller.app.close()

    stream()
