"""Context headers: what a call carries beside its arguments (promise K3).

A header comes from the call itself, else from the ambient ``cache.context(…)``, else from the task
that makes the call. Celery drops custom headers in a chain's last step and in child tasks, so what
a child may need travels in one header of ours too, and tasks find it in ``request.headers``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from celery import Task, uuid
from celery.app.task import Context

from ...cache.led_keys import WITHIN, sent_along, within
from ..patches.internals import running_task
from ..patches.publishing import publishing_app
from .status import CacheStatus

#: The one header this library adds to messages: ``{"ctx": …, "mode": …, "seen": …, "within": …}``.
HEADER = "taskcache"

#: Header names that any task of this process varies on: those are handed down to children.
declared: set[str] = set()

#: Names that are Celery's own in a message's headers.
_RESERVED = frozenset((*vars(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"))

_ambient: ContextVar[Mapping[str, Any]] = ContextVar("taskcache_context", default={})  # noqa: B039 - never changed in place
_disabled: ContextVar[bool] = ContextVar("taskcache_disabled", default=False)


class CacheHeader(dict[str, Any]):
    """The value of our header, made in this process for the publish in progress.

    A plain dict under that header came with a message (of a retry, for instance) and is old.
    """


@dataclass(slots=True)
class EagerStatus:
    """Where an eager call leaves what it found.

    Attributes:
        task_id: The call's id.
        status: What it found; None until then.
    """

    task_id: str
    status: CacheStatus | None = None


_eager: ContextVar[EagerStatus | None] = ContextVar("taskcache_eager", default=None)


@contextmanager
def eager_status(options: dict[str, Any]) -> Iterator[EagerStatus]:
    """Inside, an eager call is made with these options, and says what it found."""
    task_id = options["task_id"] = options.get("task_id") or uuid()
    told = EagerStatus(task_id)
    token = _eager.set(told)
    try:
        yield told
    finally:
        _eager.reset(token)


def record_eager_status(task_id: str, status: CacheStatus) -> None:
    """Leave what an eager call has found with its caller, who is further up."""
    told = _eager.get()
    if told is not None and told.task_id == task_id:
        told.status = status


@contextmanager
def ambient(headers: Mapping[str, Any]) -> Iterator[None]:
    """Put headers in force for the calls made inside.

    Raises:
        TypeError: A value isn't a string, number or bool; those are what messages carry everywhere.
    """
    for name, value in headers.items():
        if not isinstance(value, (str, int, float)):
            raise TypeError(
                f"context({name}={value!r}): allowed are str, int, float and bool, "
                f"not {type(value).__name__}"
            )
    token = _ambient.set({**_ambient.get(), **headers})
    try:
        yield
    finally:
        _ambient.reset(token)


@contextmanager
def disabled_block() -> Iterator[None]:
    """Let the calls made inside pass the cache by."""
    token = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(token)


def is_disabled() -> bool:
    """Whether the current code runs inside ``disabled()``."""
    return _disabled.get()


def cache_header_of(headers: object) -> Mapping[str, Any]:
    """Our header in a task's headers; what isn't ours reads as empty."""
    cache_header = headers.get(HEADER) if isinstance(headers, Mapping) else None
    return cache_header if isinstance(cache_header, dict) else {}


def of_message(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """The context of a call that arrived with these headers."""
    if not isinstance(headers, Mapping):
        return {}  # nothing, or what a caller of ``apply`` put there
    own = {name: headers[name] for name in declared - _RESERVED if name in headers}
    carried = cache_header_of(headers).get("ctx")
    # The body sees its message's own headers: those count.
    return {**carried, **own} if isinstance(carried, dict) else own


def conflicts(headers: Mapping[str, Any] | None) -> frozenset[str]:
    """Names that these headers have twice, with two values.

    A sender without this library may hand on the headers of a message that it got, and change one.
    """
    carried = cache_header_of(headers).get("ctx")
    if not headers or not isinstance(carried, dict):
        return frozenset()
    names = carried.keys() & headers.keys() - _RESERVED
    return frozenset(name for name in names if carried[name] != headers[name])


def of_new_call(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """The context of a call that is about to be made here with these headers."""
    # Here ``lang`` and the like are the caller's; in a message they are Celery's own.
    given = headers.items() if isinstance(headers, Mapping) else ()
    own = {name: value for name, value in given if name in declared}
    return {**inherited_context(), **of_message(headers), **own}


def visible_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a task sees in ``request.headers``: all but names that Celery needs there."""
    return {name: value for name, value in headers.items() if name not in _RESERVED}


def inherited_context() -> dict[str, Any]:
    """What a call made here inherits: the ambient context over that of the running task."""
    inherited: dict[str, Any] = {}
    parent: Task | None = running_task()
    if parent is not None:
        inherited.update(of_message(parent.request.headers))
    inherited.update(_ambient.get())
    return inherited


def led_by_callers() -> tuple[str, ...]:
    """The keys that callers of the running task compute, as its message says."""
    task = running_task()
    return within(cache_header_of(task.request.headers)) if task is not None else ()


def propagated_context(
    headers: Mapping[str, Any], cache_header: Mapping[str, Any]
) -> dict[str, Any]:
    """The context that goes with a message: the call's own headers, over all that it inherits."""
    inherited = {**inherited_context(), **cache_header.get("ctx", {})}
    own = {name: headers[name] for name in inherited.keys() - _RESERVED if name in headers}
    return {**inherited, **own}


def on_publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Receiver of ``before_task_publish``: give the messages of apps with a cache their context."""
    if headers is None or publishing_app() is None:
        return
    carried = headers.get(HEADER)
    if isinstance(carried, CacheHeader):
        cache_header: dict[str, Any] = dict(carried)
    else:
        # A retry comes with the headers of its first message; what was seen then is old.
        old = cache_header_of(headers)
        kept = ("mode", "ctx") if headers.get("retries") else ("ctx",)
        cache_header = {name: old[name] for name in kept if name in old}
        if is_disabled():  # sent by name, say: no CachedTask has read the mode
            cache_header["mode"] = "bypass"
    inherited = propagated_context(headers, cache_header)
    if led := sent_along(headers.get("id"), led_by_callers()):
        cache_header[WITHIN] = led
    if inherited:
        cache_header["ctx"] = inherited
        headers.update({**visible_headers(inherited), **headers})
    if cache_header:
        headers[HEADER] = cache_header
    else:
        headers.pop(HEADER, None)
