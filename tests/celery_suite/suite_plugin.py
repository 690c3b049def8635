"""pytest plugin: every task of a foreign suite becomes a CachedTask. ``-p suite_plugin``.

Environment:
    SUITE_MODE     plain (nothing changed), cold (cache cleared before each test) or warm (each test
                   runs twice, the cache is cleared before its first run only)
    SUITE_TWICE    1: each test twice in the other modes, too
    SUITE_BASE     base: base=CachedTask where a task names none, as users write it (default); cls:
                   Celery(task_cls=CachedTask), which Celery's built-in tasks have, too; import:
                   only ``import tta_taskcache``
    SUITE_CACHE    URL of the cache's Redis; without it memory only
    SUITE_SITES    e.g. consumer,pool: cache_sites of all tasks
    SUITE_OFF      1: cache_enabled=False for all tasks (the machinery, but nothing served)
    SUITE_EXCEPT   names of functions whose tasks aren't cached (impure ones)
    SUITE_LIMIT    seconds for one test (replaces the suite's own marks)
    SUITE_WAIT     seconds for the suite's own TIMEOUT, where that is longer
    SUITE_LOG      JSON lines: nodeid, outcome, seconds, text
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import FunctionType

import pytest

MODE = os.environ.get("SUITE_MODE", "plain")
TWICE = MODE == "warm" or os.environ.get("SUITE_TWICE") == "1"
BASE = os.environ.get("SUITE_BASE", "base")
URL = os.environ.get("SUITE_CACHE") or None
SITES = tuple(filter(None, os.environ.get("SUITE_SITES", "").split(",")))
EXCEPT = set(filter(None, os.environ.get("SUITE_EXCEPT", "").split(",")))
LIMIT = float(os.environ.get("SUITE_LIMIT", "90"))
WAIT = float(os.environ.get("SUITE_WAIT", "0"))
LOG = os.environ.get("SUITE_LOG")
SECOND = "@2"

_clearing = None


def _install() -> None:
    import celery
    from celery.app import base

    from tta_taskcache import CachedTask

    if BASE == "import":
        return
    if SITES:
        CachedTask.cache_sites = SITES
    if os.environ.get("SUITE_OFF") == "1":
        CachedTask.cache_enabled = False
    celery.Task = CachedTask  # ``from celery import Task`` of class-based tasks
    if BASE == "cls":
        base.Celery.task_cls = CachedTask
        return
    make = base.Celery._task_from_fun

    def with_base(self, fun, name=None, base=None, **options):
        if base is None and not (name or "").startswith("celery."):
            base = CachedTask
        if getattr(fun, "__name__", "") in EXCEPT:
            options["cache_enabled"] = False
        return make(self, fun, name=name, base=base, **options)

    # As Celery's own: warnings name the first frame that isn't.
    of_celery = {**globals(), "__name__": "celery.suite_plugin"}
    base.Celery._task_from_fun = FunctionType(
        with_base.__code__, of_celery, "with_base", with_base.__defaults__, with_base.__closure__
    )


if MODE != "plain":
    _install()


def _cache():
    """The cache, by an app of its own with a broker of its own: no sweep reaches the suite's."""
    global _clearing
    if _clearing is None:
        from celery import _state
        from celery.app.base import Celery

        from tta_taskcache import TaskCache

        app = Celery("clearing", broker="memory://", set_as_current=False, autofinalize=False)
        app.finalized = True
        _clearing = (app, TaskCache(app, url=URL))
        _state._apps.discard(app)
    return _clearing[1]


def _shorten(module):
    """Let the suite's own waits (TIMEOUT, and defaults made of it) end sooner."""
    long = getattr(module, "TIMEOUT", 0)
    if WAIT and long > WAIT:
        module.TIMEOUT = WAIT
        for function in vars(module).values():
            if getattr(function, "__defaults__", None):
                kept = function.__defaults__
                function.__defaults__ = tuple(WAIT if d == long else d for d in kept)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for module in {item.module for item in items if hasattr(item, "module")}:
        _shorten(module)
    for item in items:
        item.own_markers = [m for m in item.own_markers if m.name not in ("timeout", "flaky")]
        node = item.parent
        while node is not None:
            node.own_markers = [m for m in node.own_markers if m.name not in ("timeout", "flaky")]
            node = node.parent
        item.add_marker(pytest.mark.timeout(LIMIT))
    if TWICE:
        doubled = []
        for item in items:
            doubled.append(item)
            if isinstance(item, pytest.Function):
                again = type(item).from_parent(
                    item.parent,
                    name=item.name + SECOND,
                    callspec=getattr(item, "callspec", None),
                    callobj=item.obj,
                    fixtureinfo=item._fixtureinfo,
                    originalname=item.originalname,
                )
                again.own_markers = list(item.own_markers)
                again.add_marker(pytest.mark.timeout(LIMIT))
                doubled.append(again)
        items[:] = doubled


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if MODE != "plain" and URL and not item.name.endswith(SECOND):
        _cache().clear()
        if MODE == "warm":
            time.sleep(0.3)  # longer than l1_max_staleness


def pytest_runtest_logreport(report):
    if LOG and (report.when == "call" or report.outcome != "passed"):
        with Path(LOG).open("a") as file:
            line = {
                "nodeid": report.nodeid,
                "when": report.when,
                "outcome": report.outcome,
                "xfail": hasattr(report, "wasxfail"),
                "seconds": round(report.duration, 2),
                "text": "" if report.passed else str(report.longrepr)[-6000:],
            }
            file.write(json.dumps(line) + "\n")


def pytest_sessionfinish(session):
    if MODE != "plain" and URL and LOG:
        stats = _cache().stats()
        Path(LOG + ".stats").write_text(repr(stats))
