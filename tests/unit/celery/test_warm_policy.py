"""Options of warming, calls as they are spelled, and pacing."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_taskcache import CachedTask, ConfigurationError, Invalidate, TaskCache, Warm
from tta_taskcache.celery.warming import schedules
from tta_taskcache.core.arguments.call_spec import CallSpec, lines, parse_call_spec
from tta_taskcache.core.pacing import Pace

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("item", "call"),
    [
        ([1, [2]], CallSpec((1, [2]))),
        ([], CallSpec()),
        ({"x": 1}, CallSpec(kwargs={"x": 1})),
        ({}, CallSpec()),
        ({"args": [1]}, CallSpec((1,))),
        ({"args": [1], "kwargs": {"y": 2}}, CallSpec((1,), {"y": 2})),
        ({"kwargs": {"args": 1}, "context": {"t": "a"}}, CallSpec((), {"args": 1}, {"t": "a"})),
        ({"args": [1], "y": 2}, CallSpec(kwargs={"args": [1], "y": 2})),
        ({"context": 1}, CallSpec(kwargs={"context": 1})),
    ],
)
def test_spelled(item: Any, call: CallSpec) -> None:
    assert parse_call_spec(item) == call
    assert parse_call_spec(json.loads(json.dumps(item))) == call


@pytest.mark.parametrize(
    "item",
    [
        1,
        "word",
        None,
        {"args": 1},
        {"args": [], "kwargs": []},
        {1: 2},
        {"args": [], "context": {"t": [1]}},
    ],
)
def test_what_is_no_call_is_refused(item: Any) -> None:
    with pytest.raises(ValueError, match="must be a list of arguments"):
        parse_call_spec(item)


@settings(max_examples=40)
@given(st.lists(json_values), st.dictionaries(st.text(), json_values))
def test_any_arguments_can_be_spelled(args: list[Any], kwargs: dict[str, Any]) -> None:
    ((_, call),) = lines([json.dumps({"args": args, "kwargs": kwargs})], "f")
    assert call == CallSpec(tuple(args), kwargs)


@pytest.mark.parametrize("bad", ["[1", "7", '{"args": 3}', "[" * 100_000])
def test_a_bad_line_names_its_number(bad: str) -> None:
    read = lines(["[1]", "  ", "[2]", bad, "[3]"], "calls.jsonl")
    assert [next(read)[1].args for _ in range(2)] == [(1,), (2,)]
    with pytest.raises(ValueError, match=r"^calls\.jsonl, line 4: "):
        next(read)


def test_lines_that_are_left_out_are_counted() -> None:
    ((where, call),) = lines(["[1]", "", "nonsense", "[3]"], "f", skip=2)
    assert (where, call.args) == ("f, line 4", (3,))


@given(st.floats(0.5, 1000), st.lists(st.floats(0, 2), min_size=1, max_size=100))
def test_no_second_sees_more_than_the_rate(rate: float, pauses: list[float]) -> None:
    pace, now, went = Pace(rate), 100.0, []
    for pause in pauses:
        now += pause
        now += pace.wait(now)
        pace.went(now)
        went.append(now)
    for start in went:
        assert sum(start <= at < start + 1 - 1e-6 for at in went) <= rate + 1


def test_without_a_rate_nothing_waits() -> None:
    pace = Pace(None)
    pace.went(1.0)
    assert pace.wait(1.0) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0, "hot": 1}, "Warm(every=0)"),
        ({"every": "1h", "hot": 1}, "seconds, a timedelta or a schedule"),
        ({"every": True, "hot": 1}, "every=True"),
        ({"every": crontab, "hot": 1}, "every="),
        ({"every": float("nan"), "hot": 1}, "more than 0"),
        ({"every": timedelta(-1), "hot": 1}, "more than 0"),
        ({"every": 1}, "either calls= or hot="),
        ({"every": 1, "hot": 1, "calls": []}, "either calls= or hot="),
        ({"every": 1, "hot": 0}, "hot=0"),
        ({"every": 1, "hot": 1.5}, "hot=1.5"),
        ({"every": 1, "calls": iter([1])}, "used up"),
        ({"every": 1, "calls": ""}, "calls=''"),
        ({"every": 1, "hot": 1, "rate": 0}, "Warm(rate=0"),
        ({"every": 1, "hot": 1, "rate": float("inf")}, "rate=inf"),
        ({"every": 1, "hot": 1, "in_flight": 0}, "in_flight=0"),
        ({"every": 1, "hot": 1, "queue": ""}, "queue=''"),
        ({"every": 1, "hot": 1, "priority": -1}, "priority=-1"),
    ],
)
def test_a_wrong_warm_fails_at_import(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Warm(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize("every", [1, 0.5, timedelta(hours=1), crontab(minute=0), schedule(60)])
@pytest.mark.parametrize(
    "source", [{"hot": 1}, {"calls": [[1]]}, {"calls": list}, {"calls": Path("f")}]
)
def test_a_right_one_is_taken(every: Any, source: dict[str, Any]) -> None:
    app = Celery(broker="memory://", set_as_current=False)

    @app.task(base=CachedTask, shared=False, name="w", cache_warm=Warm(every=every, **source))
    def w(x: int) -> None: ...

    app.finalize()
    (name,) = app.conf.beat_schedule
    entry = app.conf.beat_schedule[name]
    assert (name, entry["task"]) == ("tta_taskcache.warm:w", "tta_taskcache.warm")
    assert entry["schedule"] is every
    json.dumps([entry["args"], entry["kwargs"]])


def test_cache_warm_has_to_be_a_warm() -> None:
    app = Celery(broker="memory://", set_as_current=False)
    with pytest.raises(ConfigurationError, match="task 'w': cache_warm=3: must be a Warm"):
        app.task(base=CachedTask, shared=False, name="w", cache_warm=3)(lambda: None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 1}, "Invalidate() needs key=, task=, tags= or pattern="),
        ({"every": 0, "pattern": "a:*"}, "Invalidate(every=0)"),
        ({"every": 1, "pattern": b"a"}, "Invalidate(pattern=b'a')"),
        ({"every": 1, "pattern": ""}, "Invalidate(pattern='')"),
        ({"every": 1, "tags": "user:1"}, "Invalidate(tags='user:1')"),
        ({"every": 1, "tags": []}, "Invalidate(tags=[])"),
        ({"every": 1, "key": 3}, "Invalidate(key=3)"),
        ({"every": 1, "task": 3}, "Invalidate(task=3)"),
    ],
)
def test_a_wrong_invalidate_fails_at_import(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Invalidate(**options)
    assert words in str(caught.value)


def test_entries_stand_beside_the_apps_own() -> None:
    app = Celery(broker="memory://", set_as_current=False)
    cache = TaskCache(app)
    cache.schedule(Invalidate(pattern="report:*", every=crontab(minute=0)))
    own = {"mine": {"task": "t", "schedule": 1.0}}
    app.conf.beat_schedule = own  # later than ours, and still both are there
    app.finalize()
    cache.schedule(Invalidate(task="t", tags=["x"], every=30))
    assert own == {"mine": {"task": "t", "schedule": 1.0}}
    ours = app.conf.beat_schedule.keys() - {"mine"}
    assert len(ours) == 2 == len(app.conf.beat_schedule) - 1
    assert all(name.startswith("tta_taskcache.invalidate:") for name in ours)
    assert any("report:*" in name for name in ours)
    with pytest.raises(TypeError, match="must be an Invalidate"):
        cache.schedule("report:*")  # type: ignore[arg-type]


def test_the_same_at_two_times_is_refused() -> None:
    cache = TaskCache(Celery(broker="memory://", set_as_current=False))
    daily = Invalidate(pattern="report:*", every=crontab(hour=4, minute=0))
    cache.schedule(daily, Invalidate(pattern="report:*", every=crontab(hour=4, minute=0)))
    with pytest.raises(ConfigurationError, match="is scheduled already, every=<crontab: 0 4"):
        cache.schedule(Invalidate(pattern="report:*", every=60))


def test_names_of_entries_fit_into_a_database() -> None:
    names = [Invalidate(tags=[f"tag:{n}:{m}" for n in range(100)], every=60).name for m in range(2)]
    assert names[0] != names[1]
    assert max(map(len, names)) <= 200


@pytest.mark.parametrize(
    ("every", "steady", "gap"),
    [
        (10, 10.0, 9.0),
        (timedelta(minutes=1), 60.0, 54.0),
        (schedule(2), 2.0, 1.8),
        (crontab(minute=0), None, 50.0),
    ],
)
def test_intervals(every: Any, steady: float | None, gap: float) -> None:
    assert schedules.interval(every) == steady
    assert schedules.gap(every) == gap
    assert 0 < schedules.until_next(every) <= 3600
