"""The event ``task-cache-hit`` for monitors such as Flower: the provenance of a call's result.

Celery's own events show a hit in a worker as any success; this one tells it apart. State machines
that don't know its type leave a call that has succeeded as it is.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.utils.saferepr import saferepr

from ...cache.outcome import Hit
from ...core.events import Fault
from ...core.options.option_values import Site
from ..calls.cacheable_task import CacheableTask
from ..patches.internals import event_dispatcher
from .completion import argument_repr

if TYPE_CHECKING:
    from celery.worker.request import Request

    from ..calls.call_request import CallRequest

HIT = "task-cache-hit"

#: Field of our header: the worker sends events, so its pool processes send theirs.
WANTED = "events"

#: Seconds without events after one that a producer failed to send, and seconds to connect for one.
PAUSE = 30.0
PATIENCE = 1.0

_paused_until = 0.0


def fields_of(task: CacheableTask, hit: Hit, site: Site) -> dict[str, Any]:
    """Return the fields of an event.

    Monitors merge the fields of all events of a call: of Celery's own, only ``name`` is among
    these, which is the same in all.
    """
    fields = {
        "name": task.name,
        "cache_site": site.value,
        "cache_layer": hit.layer,
        "cache_stale": hit.verdict.is_stale,
        "cache_age": round(hit.age, 3),
        "cache_key": hit.entry.key,
        "cache_source": hit.entry.task_id,
        "cache_saved_seconds": hit.entry.run_seconds,
    }
    if hit.similarity is not None:
        fields["cache_similarity"] = round(hit.similarity, 4)
    return fields


def are_wanted(request: Request) -> bool:
    """Whether the worker sends events of this call."""
    eventer = event_dispatcher(request)
    if eventer is None or not eventer.enabled or not request.task.send_events:
        return False
    # Without ``-E``, a worker sends those of its own, such as heartbeats, and none of tasks.
    return not eventer.groups or "task" in eventer.groups


def send_consumer_event(request: Request, hit: Hit) -> None:
    """Send the event of a hit that was completed in the worker's main process. Never raises."""
    if not are_wanted(request):
        return
    try:
        request.send_event(HIT, **fields_of(request.task, hit, Site.CONSUMER))
    except Exception as error:  # noqa: BLE001 - the call is complete: that stays so
        _fault(request.task, error)


def send_pool_event(task: CacheableTask, hit: Hit) -> None:
    """Send the event of a hit in a process of the pool. No fault of it is raised."""
    try:
        task.send_event(HIT, retry=False, **fields_of(task, hit, Site.POOL))
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - no monitor is worth a task (promise F1)
        _fault(task, error)


def send_producer_event(
    call_request: CallRequest, task_id: str, options: Mapping[str, Any], hit: Hit
) -> None:
    """Send the event of a hit at the producer. No fault is raised.

    No message was sent, so it is the only event of this call, and costs what the message would
    have. Its host name is the same for all processes of a machine: monitors count by it.

    Args:
        call_request: The call.
        task_id: Its id.
        options: The options it was made with.
        hit: The answer.
    """
    global _paused_until  # noqa: PLW0603 - of this process; a lock would be worse after a fork
    task = call_request.task
    if monotonic() < _paused_until:
        return
    app = task.app
    try:
        with app.producer_or_acquire() as producer:
            producer.connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
            # A new one each time: it holds a lock, which a fork could leave locked.
            hostname = f"producer@{socket.gethostname()}"
            dispatcher = app.events.Dispatcher(enabled=False, hostname=hostname)
            fields = fields_of(task, hit, Site.PRODUCER) | _known(call_request, options, hit)
            dispatcher.publish(HIT, {**fields, "uuid": task_id}, producer, retry=False)
    except SoftTimeLimitExceeded:
        raise  # the limit is the calling task's
    except Exception as error:  # noqa: BLE001 - likewise
        _paused_until = monotonic() + PAUSE
        call_request.runtime.observe(Fault(task.name, "send-event", error))


def _known(call_request: CallRequest, options: Mapping[str, Any], hit: Hit) -> dict[str, str]:
    """Return the fields that monitors know of other calls from Celery's own events."""
    app, task = call_request.task.app, call_request.task
    return {
        "args": options.get("argsrepr") or argument_repr(app, call_request.args),
        "kwargs": options.get("kwargsrepr") or argument_repr(app, call_request.kwargs),
        "result": saferepr(hit.value, task.resultrepr_maxsize),
    }


def _fault(task: CacheableTask, error: Exception) -> None:
    task.cache_runtime.observe(Fault(task.name, "send-event", error))
