"""Nothing waits for itself (C7): what a run knows of its callers, and how long it waits."""

import pytest

from tta_taskcache.cache.runs.led_keys import (
    AGAINST_ORDER,
    MOST_SENT,
    leading,
    led_keys,
    sent_along,
    waits_at_most,
    within,
)

LONG = 900.0


def test_c7_keys_are_led_inside_only() -> None:
    with leading("b", "task", ("a",)), leading("c", None):
        assert led_keys() == {"a", "b", "c"}
        assert sent_along("other") == ["a", "b", "c"]
    assert led_keys() == set()


def test_c7_a_task_that_sends_itself_again_has_ended_by_then() -> None:
    with leading("b", "task", ("a",)):
        assert sent_along("task") == ["a"]


def test_c7_what_a_message_said_is_sent_on() -> None:
    with leading("b", "task"):
        assert sent_along(None, ("a", "b")) == ["a", "b"]
        assert led_keys(("a",)) == {"a", "b"}
    assert sent_along(None, ("a",)) == ["a"], "by a task that leads nothing, too"


def test_c7_what_is_sent_along_is_bounded() -> None:
    with leading("last", "task", [f"k{i}" for i in range(2 * MOST_SENT)]):
        assert len(sent_along(None)) == MOST_SENT
        assert sent_along(None)[-1] == "last"


@pytest.mark.parametrize("carried", [None, "ab", 3, {"a": 1}])
def test_c7_what_isnt_ours_in_a_header_reads_as_nothing(carried: object) -> None:
    assert within({"within": carried}) == ()


def test_c7_of_what_waits_in_a_circle_one_soon_runs() -> None:
    assert waits_at_most("b", (), LONG) == LONG
    assert waits_at_most("b", ("b",), LONG) == 0.0
    a_for_b, b_for_a = waits_at_most("b", ("a",), LONG), waits_at_most("a", ("b",), LONG)
    assert (a_for_b, b_for_a) == (LONG, AGAINST_ORDER)
