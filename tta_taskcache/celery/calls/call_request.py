"""Call requests: what a call asks for, what identifies it, what was decided about it.

A request is made once, where the call comes in (``identification``), and travels with it (K5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from ...cache import plan
from ...cache.batch_call import BatchCall
from ...cache.outcome import Call
from ...cache.runs.request_directives import Mode
from ...core.arguments.canonical import Form
from ...core.identity.keys import Keyer
from ...core.options.policy import Policy
from ...core.record import record
from ...errors import (
    BatchArgumentError,
    UncacheableCall,
    WrongArguments,
)
from ..config.runtime import Runtime
from . import message_form
from .cacheable_task import CacheableTask

#: The option of a call, and the field in our header, with the greatest age that it accepts (s).
MAX_AGE = "cache_max_age"

#: The cache of this process, and the computer of a task's keys.
Caching = tuple[Runtime, Keyer]

#: Most calls that are looked up in one round trip: bounds the size of its reply.
AT_ONCE = plan.AT_ONCE


@record(kw_only=True)
class CallRequest:
    """A request for a call of a cached task.

    Attributes:
        task: The task.
        runtime: The cache of this process.
        keyer: Computer of the keys of the task's calls.
        args: Positional arguments, as they identify the call.
        kwargs: Keyword arguments, likewise.
        form: The form in which these reach the body.
        context: The context headers in force for it.
        vary: The context headers that are part of the key.
        mode: What it asks of the cache.
        max_age: Greatest age of an answer that it accepts (s); None for no bound.
        is_request: Whether a caller makes it now: it is neither a retry nor a warming's.
        serializer: Name of its message's serializer, where that isn't the task's and is known.
        call: Key, tags and policy of the call; None when it bypasses the cache or has no key, and
            for a batch.
        batch: Those of its items, for a task with ``cache_each``; None as ``call``.
        refusal: The error that explains why it has no key.
        bypass: The reason why it bypasses the cache; empty when it doesn't.
        is_shadowed: Whether shadow mode applies: it is looked up and counted, and runs.
        is_verified: Whether it runs although an answer is stored, to be compared with that.
    """

    task: CacheableTask
    runtime: Runtime
    keyer: Keyer
    policy: Policy
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    form: Form
    context: Mapping[str, Any]
    vary: Mapping[str, Any]
    mode: Mode
    is_request: bool
    serializer: str | None = None
    call: Call | None = None
    batch: BatchCall | None = None
    refusal: UncacheableCall | None = None
    bypass: str = ""
    is_shadowed: bool = False
    is_verified: bool = False
    max_age: float | None = None

    def identified(self) -> Call:
        """Return the call.

        Raises:
            UncacheableCall: The call has no key.
        """
        if self.call is not None:
            return self.call
        raise self.refusal or UncacheableCall(f"task {self.task.name!r}: {self.bypass}")

    def with_max_age(self, max_age: float | None) -> CallRequest:
        """Return the request of a caller who accepts no older answer, nor a stale one."""
        if max_age is None:
            return self
        call = replace(self.call, max_age=max_age) if self.call is not None else None
        batch = self.batch.with_max_age(max_age) if self.batch is not None else None
        return replace(self, call=call, batch=batch, max_age=max_age)

    @property
    def items(self) -> Sequence[Any]:
        """The different items of a batch, as they identify it, in the order of its calls."""
        if self.batch is None:
            return ()
        items = self.keyer.items(self.args, self.kwargs)
        return [items[first] for first in self.batch.firsts]

    def identified_batch(self) -> BatchCall:
        """Return the batch.

        Raises:
            UncacheableCall: An item has no key.
        """
        if self.batch is not None:
            return self.batch
        raise self.refusal or UncacheableCall(f"task {self.task.name!r}: {self.bypass}")

    def of_item(self, item: Any, call: Call) -> CallRequest:
        """Return the request for one item of a batch."""
        args, kwargs = self.keyer.with_items(self.args, self.kwargs, item)
        return replace(self, args=args, kwargs=kwargs, call=call, batch=None)

    def of_items(self, items: list[Any]) -> CallRequest:
        """Return the arguments of the batch of some items, without their keys."""
        args, kwargs = self.keyer.with_items(self.args, self.kwargs, items)
        return replace(self, args=args, kwargs=kwargs, batch=None)

    def with_traits(self, call: Call) -> Call:
        """Return the call with the traits that its entry keeps (``core.identity.traits``).

        Raises:
            UncacheableCall: The call has no key.
        """
        secret = self.runtime.engine.parts.secret
        traits = self.keyer.traits(self.args, self.kwargs, self.context, secret, self.form)
        return replace(call, traits=traits)

    def received(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments as the body gets them from a message of this call."""
        if self.form.exact:
            return self.args, self.kwargs
        name = message_form.serializer_of(self.task, self.serializer)
        return message_form.received(self.args, self.kwargs, name)


def is_cached(task: object) -> TypeGuard[CacheableTask]:
    """Whether a task is a ``CachedTask``."""
    return isinstance(getattr(task, "_cache_keyer", None), Keyer)


def caching_of(task: CacheableTask) -> Caching:
    """Return a task's runtime and keyer."""
    return task.cache_runtime, task.cache_keyer


def is_enabled(task: CacheableTask) -> bool:
    """Whether the app and the task have caching on."""
    return task.cache_runtime.settings.enabled and task.cache_policy.enabled


def check_list(call_request: CallRequest) -> None:
    """Check the argument of ``cache_each`` of a call that wasn't identified.

    Raises:
        BatchArgumentError: It is no list.
    """
    try:
        call_request.keyer.items(call_request.args, call_request.kwargs)
    except BatchArgumentError:
        raise
    except WrongArguments:
        pass  # Celery says what is wrong
