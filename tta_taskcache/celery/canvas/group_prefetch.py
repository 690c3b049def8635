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
from celery.canvas import Signature
from celery.result import AsyncResult

from ...core.events import Fault, Observe
from ..calls.call_request import AT_ONCE, is_cached
from ..sites.producer import GROUP_PREFETCH, GroupPrefetch
from .signature_calls import SignatureCall, first_calls, look_up_calls, read_call

#: A signature, its result, and the id of its group, as Celery prepares them.
Prepared = tuple[Signature, AsyncResult, str]


def prefetch_group(
    app: Celery, prepared: Iterable[Prepared], options: Mapping[str, Any], observe: Observe
) -> Iterator[Prepared]:
    """Let a group's signatures take along what is stored for them.

    Args:
        app: The app.
        prepared: What Celery is going to apply.
        options: What it applies each with: ``args``, ``kwargs`` and others.
        observe: Told of faults.
    """
    prepared = iter(prepared)
    while batch := list(islice(prepared, AT_ONCE)):
        try:
            _attach_results(app, batch, options)
        except SoftTimeLimitExceeded:
            raise  # the task's own limit
        except Exception as error:  # noqa: BLE001 - then each call looks for itself (promise F1)
            observe(Fault("celery.group", "look", error))
        yield from batch


def _attach_results(app: Celery, batch: Sequence[Prepared], options: Mapping[str, Any]) -> None:
    steps: list[tuple[Prepared | None, SignatureCall]] = []
    for each in batch:
        sig, result, _ = each
        if not is_cached(app.tasks.get(sig.task)):
            # The first step of a workflow finds its answer in L1.
            steps += [(None, step) for step in first_calls(app, sig)]
            continue
        sig.options[GROUP_PREFETCH] = GroupPrefetch(None, result)
        step = read_call(app, sig, options, claims=True)
        if step is not None:
            steps.append((each, step))
    lookup = look_up_calls([step for _, step in steps])
    for (prepared, _), found in zip(steps, lookup, strict=True):
        if prepared is not None:
            sig, result, _ = prepared
            sig.options[GROUP_PREFETCH] = GroupPrefetch(found, result)
