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

from ...cache.cache_status import CacheStatus
from ...cache.runs.led_keys import WITHIN, sent_along, within
from ...cache.runs.request_directives import mode_in_force
from ...core.record import record
from ..patches.app.publishing import publishing_app
from ..patches.internals import running_task

#: The one header this library adds to messages: a dict with ``ctx``, ``mode``, ``seen``, ``within``
#: and ``serializer``, each only where there is a value.
HEADER = "taskcache"

#: Where Sentry's and Datadog's instrumentation put a copy of a message's headers, from before it is
#: published (Celery's issue 4875). Tasks see the copy in ``request.headers``, in place of the rest.
_COPY = "headers"

#: Header names that any task of this process varies on: child tasks inherit them.
declared: set[str] = set()

#: Names that Celery itself uses in a message's headers.
_RESERVED = frozenset((*vars(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"))

_ambient: ContextVar[Mapping[str, Any]] = ContextVar("taskcache_context", default={})  # noqa: B039 - never changed in place

_disabled: ContextVar[bool] = ContextVar("taskcache_disabled", default=False)


@record
class InForce:
    """What is in force for a call, where it is made.

    Attributes:
        headers: The context headers.
        is_disabled: Whether it is made inside ``disabled()``.
        mode: What its block asks of the cache; None for nothing.
        max_age: Greatest age of the answers that its block accepts (s); None for no bound.
    """

    headers: Mapping[str, Any]
    is_disabled: bool
    mode: str | None
    max_age: float | None


class CacheHeader(dict[str, Any]):
    """The value of our header, made in this process for the publish in progress.

    A plain dict under that header came with an earlier message, of a retry for instance.
    """


@dataclass(slots=True)
class EagerStatus:
    """The cache status of an eager call, handed up to its caller.

    Attributes:
        task_id: The call's id.
        status: Its status; None until it was looked up.
    """

    task_id: str
    status: CacheStatus | None = None


_eager: ContextVar[EagerStatus | None] = ContextVar("taskcache_eager", default=None)


@contextmanager
def eager_status(options: dict[str, Any]) -> Iterator[EagerStatus]:
    """Collect the status of the eager call that is made inside with these options."""
    task_id = options["task_id"] = options.get("task_id") or uuid()
    recorded = EagerStatus(task_id)
    token = _eager.set(recorded)
    try:
        yield recorded
    finally:
        _eager.reset(token)


def record_eager_status(task_id: str, status: CacheStatus) -> None:
    """Hand the status of an eager call up to its caller."""
    awaited = _eager.get()
    if awaited is not None and awaited.task_id == task_id:
        awaited.status = status


@contextmanager
def ambient(headers: Mapping[str, Any]) -> Iterator[None]:
    """Put headers in force for the calls made inside.

    Raises:
        TypeError: A value isn't a string, number or bool, which every serializer carries.
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
    """Let the calls made inside bypass the cache."""
    token = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(token)


def is_disabled() -> bool:
    """Whether the current code runs inside ``disabled()``."""
    return _disabled.get()


def cache_header_of(headers: object) -> Mapping[str, Any]:
    """Return our header in a task's headers; empty where there is none of ours."""
    cache_header = headers.get(HEADER) if isinstance(headers, Mapping) else None
    return cache_header if isinstance(cache_header, dict) else {}


def write_cache_header(headers: dict[str, Any], cache_header: Mapping[str, Any]) -> None:
    """Put our header into a message's headers; an empty one takes it out."""
    _write(headers, cache_header, {})


def add_to_cache_header(headers: dict[str, Any], added: Mapping[str, Any]) -> None:
    """Add values to our header of a message."""
    write_cache_header(headers, {**cache_header_of(headers), **added})


def _write(
    headers: dict[str, Any], cache_header: Mapping[str, Any], visible: Mapping[str, Any]
) -> None:
    copy = headers.get(_COPY)
    if isinstance(copy, dict):
        headers[_COPY] = own = dict(copy)
        _write(own, cache_header, visible)
    for name in visible.keys() - headers.keys():
        headers[name] = visible[name]
    if cache_header:
        headers[HEADER] = cache_header
    else:
        headers.pop(HEADER, None)


def of_message(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the context of a call that arrived with these headers."""
    if not isinstance(headers, Mapping):
        return {}  # ``apply`` takes anything as headers
    own = {name: headers[name] for name in declared - _RESERVED if name in headers}
    carried = cache_header_of(headers).get("ctx")
    # The body sees its message's own headers, so they come first.
    return {**carried, **own} if isinstance(carried, dict) else own


def conflicts(headers: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names that these headers have twice, with two values.

    A sender without this library may pass on the headers of a message that it got, and change one.
    """
    carried = cache_header_of(headers).get("ctx")
    if not headers or not isinstance(carried, dict):
        return frozenset()
    names = carried.keys() & headers.keys() - _RESERVED
    return frozenset(name for name in names if carried[name] != headers[name])


def of_new_call(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the context of a call that is about to be made here with these headers."""
    has_own = bool(headers)
    if not has_own:
        return inherited_context()
    # Here ``lang`` and the like are the caller's; in a message they are Celery's own.
    given = headers.items() if isinstance(headers, Mapping) else ()
    own = {name: value for name, value in given if name in declared}
    return {**inherited_context(), **of_message(headers), **own}


def in_force(headers: Mapping[str, Any] | None) -> InForce:
    """Return what is in force for a call that is about to be made here with these headers."""
    return InForce(of_new_call(headers), _disabled.get(), *mode_in_force.get())


def visible_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers that a task sees in ``request.headers``: all but Celery's own names."""
    return {name: value for name, value in headers.items() if name not in _RESERVED}


def message_headers(
    context: Mapping[str, Any], own: Mapping[str, Any], cache_header: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the headers of a call's message, which its task sees.

    Args:
        context: The context headers in force for it.
        own: The headers that the caller gave it.
        cache_header: The value of our header; empty for none.
    """
    ours = {HEADER: cache_header} if cache_header or HEADER in own else {}
    return {**visible_headers(context), **own, **ours}


def inherited_context() -> dict[str, Any]:
    """Return what a call made here inherits: the ambient context over the running task's."""
    parent: Task | None = running_task()
    if parent is None:
        return dict(_ambient.get())
    return {**of_message(parent.request.headers), **_ambient.get()}


def led_by_callers() -> tuple[str, ...]:
    """The keys that callers of the running task compute, as its message says."""
    task = running_task()
    return within(cache_header_of(task.request.headers)) if task is not None else ()


def propagated_context(
    headers: Mapping[str, Any], cache_header: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the context that a message carries: the call's own headers over the inherited ones."""
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
        # A retry has the headers of its first message, whose lookup is old by now.
        old = cache_header_of(headers)
        kept = ("mode", "ctx", "cache_max_age") if headers.get("retries") else ("ctx",)
        cache_header = {name: old[name] for name in kept if name in old}
        if is_disabled():  # sent by name (``send_task``): no CachedTask has read the mode
            cache_header["mode"] = "bypass"
        elif (mode := mode_in_force.get()[0]) in ("refresh", "bypass", "no-store"):
            cache_header.setdefault("mode", mode)
    inherited = propagated_context(headers, cache_header)
    if led := sent_along(headers.get("id"), led_by_callers()):
        cache_header[WITHIN] = led
    if inherited:
        cache_header["ctx"] = inherited
    _write(headers, cache_header, visible_headers(inherited))
