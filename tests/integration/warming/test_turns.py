"""A schedule's turn is taken once: in the hour that comes twice, and by beats that disagree."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab

from tests.support.servers import Server
from tta_taskcache import CachedTask, Invalidate, TaskCache
from tta_taskcache.celery.warming import schedules

pytestmark = pytest.mark.one_server_kind

BERLIN = ZoneInfo("Europe/Berlin")

#: Whether a message that was sent then made its invalidation.
Sent = Callable[[Invalidate, float], bool]


def same(x: Any) -> Any:
    return x


@pytest.fixture
def sent(redis_server: Server) -> Sent:
    app = Celery("turns", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_always_eager=True, timezone="Europe/Berlin")
    cache = TaskCache(app, url=redis_server.url(), timeout=5.0, l1_max_entries=0)
    task = app.task(base=CachedTask, name="t", shared=False)(same)
    app.finalize()

    def send(invalidation: Invalidate, at: float) -> bool:
        task.cache.set(1, 1)
        entry = invalidation.entry()
        headers = {schedules.SENT: at}
        app.tasks[entry["task"]].apply(entry["args"], entry["kwargs"], headers=headers).get()
        return not cache.keys()

    return send


def local(hour: int, minute: int, *, again: bool = False) -> float:
    """A time of the night on which Berlin's hour from two to three comes twice."""
    return datetime(2026, 10, 25, hour, minute, 1, tzinfo=BERLIN, fold=int(again)).timestamp()


def test_a_crontab_that_names_its_hour_is_due_once_when_that_comes_twice(sent: Sent) -> None:
    at = Invalidate(task="t", every=crontab(hour="2", minute="0,30"))
    assert sent(at, local(2, 0))
    assert sent(at, local(2, 30))
    assert not sent(at, local(2, 0, again=True)), "of another beat, which began in between"
    assert not sent(at, local(2, 30, again=True))
    assert sent(at, local(2, 0) + 86_400 + 3_600)


def test_a_beat_that_was_down_the_first_time_is_heard_the_second(sent: Sent) -> None:
    at = Invalidate(task="t", every=crontab(hour="2", minute="0,30"))
    assert sent(at, local(2, 0))
    assert sent(at, local(2, 30, again=True))


def test_a_crontab_of_every_hour_is_due_in_both(sent: Sent) -> None:
    hourly = Invalidate(task="t", every=crontab(minute=30))
    assert sent(hourly, local(2, 30))
    assert sent(hourly, local(2, 30, again=True))


def test_beats_that_disagree_by_much_are_said(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    minutely = Invalidate(task="t", every=60)
    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        assert sent(minutely, 1_000_000.0)
        assert not sent(minutely, 1_000_030.0), "another beat, in the same turn"
        assert sent(minutely, 1_000_060.0)
        assert not caplog.text
        assert sent(minutely, 1_000_360.0), "a beat whose clock is ahead"
        assert sent(minutely, 1_000_120.0)
    (record,) = caplog.records
    assert "sent 240 s before the one that came before it" in record.getMessage()
    assert minutely.name in record.getMessage()


def test_an_entry_that_a_database_has_kept_from_before_names_no_hours(redis_server: Server) -> None:
    app = Celery("turns", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    cache = TaskCache(app, url=redis_server.url(), timeout=5.0)
    task = app.task(base=CachedTask, name="t", shared=False)(same)
    app.finalize()
    task.cache.set(1, 1)
    entry = Invalidate(task="t", every=crontab(hour=2)).entry()
    turn = entry["kwargs"]["turn"][:2]
    app.tasks[entry["task"]].apply(entry["args"], {"turn": turn}).get()
    assert not cache.keys()
