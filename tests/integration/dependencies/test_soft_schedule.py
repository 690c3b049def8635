"""Soft invalidations on beat's schedule (D2)."""

from typing import Any

import pytest

from tests.integration.freshness.one_process import OneProcess
from tta_taskcache import ConfigurationError, Invalidate


def turn(here: OneProcess, invalidation: Invalidate) -> None:
    """Do what beat's message makes a worker do."""
    entry: dict[str, Any] = invalidation.entry()
    here.app.tasks[entry["task"]].apply(entry["args"], entry["kwargs"]).get()


@pytest.mark.parametrize(
    "named", [{"tags": ["user:1"]}, {"task": "user"}, {"pattern": "user:*"}, {"key": ""}]
)
def test_d2_a_turn_makes_entries_stale(here: OneProcess, named: dict[str, Any]) -> None:
    user = here.task(
        lambda: 1, name="user", cache_tags=("user:1",), cache_stale_while_revalidate=60
    )
    report = here.task(user.cache.call, name="report", cache_stale_while_revalidate=60)
    report.cache.call()
    if "key" in named:
        named = {"key": user.cache.key()}
    turn(here, Invalidate(every=60, soft=True, **named))
    assert [task.cache.explain().stale for task in (user, report)] == [True, True]
    turn(here, Invalidate(every=60, **named))
    assert [task.cache.explain().status for task in (user, report)] == ["miss", "miss"]


def test_soft_and_hard_turns_are_told_apart() -> None:
    soft, hard = (Invalidate(every=60, task="t", soft=soft) for soft in (True, False))
    assert soft.name != hard.name
    with pytest.raises(ConfigurationError, match=r"soft=1\): must be True or False"):
        Invalidate(every=60, task="t", soft=1)  # type: ignore[arg-type]  # it is wrong
