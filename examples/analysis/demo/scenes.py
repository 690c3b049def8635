"""Parts 2 to 4: a busy pool, a chain of cached steps, invalidation. Each on a running worker."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from statistics import median
from time import perf_counter
from typing import Any

from celery import chain, signals
from celery.result import AsyncResult

from .. import tasks
from ..app import app, cache
from . import show
from .stream import TIMEOUT

PACKAGE = "email"

#: How often each kind of hit is timed beside a busy pool, and how long it may take (s).
HITS, PROMPT = 5, 0.1


def busy_pool(modules: list[str], seconds: float, cost: float, promises: show.Promises) -> int:
    """A hit while each process of the pool is busy, next to a call that has to wait.

    Args:
        modules: Modules that were examined, so that they are cached.
        seconds: How long to keep the pool busy.
        cost: Seconds that one of them took on average.
        promises: What has to be true.

    Returns:
        How many runs that made.
    """
    module = modules[0]
    # Large and small ones, so that they cost what the average says.
    count = ceil(seconds / cost)
    work = [modules[each * len(modules) // count] for each in range(count)]
    surveys = [tasks.survey.delay(work) for _ in range(2)]
    _until(lambda: all(survey.state == "STARTED" for survey in surveys))
    asked = perf_counter()
    waiting = tasks.examine.apply_async((module,), cache="bypass")
    by_task, values = _timed(lambda: tasks.examine.delay(module))
    by_name, others = _timed(lambda: app.send_task(tasks.examine.name, (module,)))
    busy = not any(result.ready() for result in (*surveys, waiting))
    value = waiting.get(timeout=TIMEOUT)
    waited = perf_counter() - asked
    show.table(
        (f"examine({module!r})", "answered by", "after"),
        [
            (f"asked of the task (median of {HITS})", "the producer", show.duration(by_task)),
            (f"asked by name (median of {HITS})", "the main process", show.duration(by_name)),
            ('with cache="bypass"', "the pool, when free", show.duration(waited)),
        ],
    )
    promises.check(busy, "both processes were still busy after the hits")
    promises.check(all(v == value for v in values + others), "the busy pool's answers are right")
    promises.check(max(by_name, by_task) < PROMPT, f"hits beside a busy pool take under {PROMPT} s")
    for survey in surveys:
        survey.get(timeout=TIMEOUT)
    return 1


def chain_of_steps(promises: show.Promises) -> int:
    """Three cached steps, cold, warm, and for another team, whose last step differs.

    Returns:
        How many runs that made.
    """
    rows, runs, values = [], [], []
    for label, team in (("cold", "blue"), ("again", "blue"), ("first time", "red")):
        with cache.context(team=team), _messages() as sent:
            steps: Any = chain(
                tasks.measure_package.s(PACKAGE), tasks.relate.s(), tasks.report.s(title=PACKAGE)
            )
            started = perf_counter()
            result = steps.delay()
            values.append(result.get(timeout=TIMEOUT))
            seconds = perf_counter() - started
            ran = _which_ran(result)
        runs.append(len(ran))
        rows.append((f"{team}, {label}", ", ".join(ran) or "none", str(len(sent)), seconds))
    show.table(
        ("team", "steps that ran", "sent from here", "after"),
        [(*row[:3], show.duration(row[3])) for row in rows],
    )
    promises.equal(runs, [3, 0, 1], "steps of the chain that ran")
    promises.equal(rows[1][2], "0", "messages sent for the warm chain")
    measured = tasks.measure_package(PACKAGE)
    plain = tasks.report(tasks.relate(measured), title=PACKAGE)
    promises.check(all(value == plain for value in values), "the chain's results are right")
    return sum(runs)


def _which_ran(result: AsyncResult) -> list[str]:
    """The steps whose entry was made by this very chain, not by an earlier one."""
    first, second = result.parent.parent, result.parent
    steps: tuple[tuple[Any, tuple[Any, ...], dict[str, Any], AsyncResult], ...] = (
        (tasks.measure_package, (PACKAGE,), {}, first),
        (tasks.relate, (first.get(),), {}, second),
        (tasks.report, (second.get(),), {"title": PACKAGE}, result),
    )
    return [
        task.name.rpartition(".")[2]
        for task, args, kwargs, step in steps
        if task.cache.explain(*args, **kwargs).task_id == step.id
    ]


def invalidation(modules: list[str], promises: show.Promises) -> int:
    """End one entry, then those of a task.

    Returns:
        How many runs that made.
    """
    one, other = modules[:2]
    names = {one: "a", other: "b"}
    rows: list[tuple[str, str, str, str]] = []
    hits: list[bool] = []
    left: list[int] = []

    def note(what: str, answer: str, started: float) -> None:
        seconds = perf_counter() - started
        left.append(len(cache.keys(f"{tasks.examine.name}:*")))
        rows.append((what, answer, show.duration(seconds), str(left[-1])))

    def ask(module: str) -> None:
        started = perf_counter()
        result = tasks.examine.delay(module)
        result.get(timeout=TIMEOUT)
        status = result.cache_status
        hits.append(status.hit)
        answer = f"hit, {status.layer.upper()}" if status.hit else f"ran ({status.reason})"
        note(f"examine({names[module]})", answer, started)

    def end(what: str, invalidate: Callable[[], None]) -> None:
        started = perf_counter()
        invalidate()
        note(what, "", started)

    ask(one)
    end("examine.cache.invalidate(a)", lambda: tasks.examine.cache.invalidate(one))
    ask(one)
    ask(other)
    end("cache.invalidate(task=examine)", lambda: cache.invalidate(task=tasks.examine))
    ask(other)
    ask(other)
    show.table(("", "answer", "after", "entries"), rows)
    promises.equal(hits, [True, False, True, False, True], "hits around the invalidations")
    every = left[0]
    expected = [every, every - 1, every, every, 0, 1, 1]
    promises.equal(left, expected, "entries around the invalidations")
    return hits.count(False)


def _timed(ask: Callable[[], AsyncResult]) -> tuple[float, list[Any]]:
    seconds, values = [], []
    for _ in range(HITS):
        started = perf_counter()
        values.append(ask().get(timeout=TIMEOUT))
        seconds.append(perf_counter() - started)
    return median(seconds), values


@contextmanager
def _messages() -> Iterator[list[str]]:
    """The tasks for which messages are sent from this process."""
    sent: list[str] = []

    def note(sender: str, **_: Any) -> None:
        sent.append(sender)

    signals.before_task_publish.connect(note)
    try:
        yield sent
    finally:
        signals.before_task_publish.disconnect(note)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the pool didn't get busy")
        time.sleep(0.02)
