"""Reading ahead: the calls of a group are looked up together before each is made (promise R3).

Celery applies a group's signatures one by one. Before it does, what is stored for a batch of them
is read in one round trip, and each signature takes along what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from celery.canvas import Signature, group
from celery.result import AsyncResult

from ...core.events import Fault
from ..api.task_cache import cache_of
from ..calls.call_request import AT_ONCE, is_cached
from ..sites.producer import AHEAD, Ahead
from .signature_calls import Step, first_steps, look_at, read_step

#: A signature, its result, and the id of its group, as Celery prepares them.
Prepared = tuple[Signature, AsyncResult, str]


def read_ahead(
    app: Celery, prepared: Iterable[Prepared], options: Mapping[str, Any]
) -> Iterator[Prepared]:
    """Let a group's signatures take along what is stored for them.

    Args:
        app: The app.
        prepared: What Celery is going to apply.
        options: What it applies each with: ``args``, ``kwargs`` and others.
    """
    prepared = iter(prepared)
    while batch := list(islice(prepared, AT_ONCE)):
        try:
            _take_along(app, batch, options)
        except SoftTimeLimitExceeded:
            raise  # the task's own limit
        except Exception as error:  # noqa: BLE001 - then each call looks for itself (promise F1)
            cache_of(app).runtime.observe(Fault("celery.group", "look", error))
        yield from batch


def _take_along(app: Celery, batch: Sequence[Prepared], options: Mapping[str, Any]) -> None:
    steps: list[tuple[Prepared | None, Step]] = []
    for each in batch:
        sig, result, _ = each
        if not is_cached(app.tasks.get(sig.task)):
            # The first step of a workflow finds its answer in L1.
            steps += [(None, step) for step in first_steps(app, sig)]
            continue
        sig.options[AHEAD] = Ahead(None, result)
        step = read_step(app, sig, options, claims=True)
        if step is not None:
            steps.append((each, step))
    seen = look_at([step for _, step in steps])
    for (prepared, _), found in zip(steps, seen, strict=True):
        if prepared is not None:
            sig, result, _ = prepared
            sig.options[AHEAD] = Ahead(found, result)


_apply_tasks = group._apply_tasks


def _apply_tasks_ahead(
    self: group, tasks: Any, producer: Any = None, app: Any = None, *args: Any, **options: Any
) -> Any:
    app = app or self.app
    return _apply_tasks(self, read_ahead(app, tasks, options), producer, app, *args, **options)


def install() -> None:
    """Put reading ahead in front of what Celery applies groups with, once."""
    group._apply_tasks = _apply_tasks_ahead
