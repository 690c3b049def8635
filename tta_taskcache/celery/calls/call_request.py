"""Call requests: what a call asks for, what identifies it, what was decided about it.

A request is made once, where the call comes in, and travels with it (promise K5). All sites, direct
calls, maps and eager calls make theirs here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import random
from typing import Any, TypeGuard

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache import plan
from ...cache.batch_call import BatchCall, make_batch
from ...cache.engine.lookup_record import VERIFY
from ...cache.outcome import Call
from ...cache.runs.request_directives import Mode, read_mode
from ...core.arguments.canonical import EXACT, Form
from ...core.events import Fault
from ...core.identity.keys import Keyer
from ...core.options.policy import Policy
from ...core.record import record
from ...errors import (
    BatchArgumentError,
    ConflictingContext,
    UncacheableCall,
    UnkeyableArgument,
    WrongArguments,
)
from ..config.runtime import Runtime
from . import context as context_headers
from . import message_form
from .cacheable_task import CacheableTask
from .context import InForce
from .lookup_result import SLOW

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


def request_of_sender(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    headers: Mapping[str, Any] | None,
    mode: Mode = "use",
    *,
    serializer: str | None = None,
    is_request: bool = True,
    is_identified: bool | None = None,
    caching: Caching | None = None,
    in_force: InForce | None = None,
) -> CallRequest:
    """The request for a call whose arguments haven't been in a message yet.

    Args:
        task: The task.
        args: Positional arguments, as the caller gave them.
        kwargs: Keyword arguments, likewise.
        headers: The headers that the caller gave it.
        mode: What it asks of the cache.
        serializer: Name of the message's serializer, if it isn't the task's.
        is_request: Whether a caller makes it now.
        is_identified: Whether the key is computed; None: unless the call bypasses the cache.
        caching: Runtime and keyer of the task; None: the task is asked for them.
        in_force: What is in force for it; None: that is read.

    Raises:
        BatchArgumentError: The argument of ``cache_each`` is no list.
    """
    here = in_force or context_headers.in_force(headers)
    draft = _Draft(task, caching or caching_of(task), args, kwargs, context=here.headers, mode=mode)
    draft.decide(is_disabled=here.is_disabled)
    if is_identified or (is_identified is None and not draft.bypass):
        draft.serializer = serializer
        draft.identify(is_sent=True)
        draft.check_list()
    return draft.request(is_request=is_request)


def request_of_caller(
    task: CacheableTask, args: Any, kwargs: Any, *, is_identified: bool | None = None
) -> CallRequest:
    """The request for a direct call (``task.cache``), which shares entries with calls by message.

    What a message of the task can't carry identifies a direct call as it is.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        is_identified: As of ``request_of_sender``.

    Raises:
        BatchArgumentError: The argument of ``cache_each`` is no list.
    """
    here = context_headers.in_force(None)
    mode = read_mode(here.mode or "use")
    draft = _Draft(task, caching_of(task), args, kwargs, context=here.headers, mode=mode)
    draft.decide(is_disabled=here.is_disabled)
    if is_identified or (is_identified is None and not draft.bypass):
        draft.identify(is_sent=True)
        if isinstance(draft.refusal, UnkeyableArgument):
            draft.args, draft.kwargs, draft.form = args, kwargs, EXACT
            draft.identify()
        draft.check_list()
    return draft.request(is_request=True).with_max_age(here.max_age)


def request_of_message(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    headers: Mapping[str, Any] | None,
    mode: Mode = "use",
    *,
    is_request: bool = True,
    is_eager: bool = False,
    context: Mapping[str, Any] | None = None,
) -> CallRequest:
    """The request for a call whose arguments are those that the body gets.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        headers: The headers of its message.
        mode: What it asks of the cache.
        is_request: Whether a caller makes it now.
        is_eager: Whether there is no message: the body gets the caller's arguments.
        context: The context headers in force for it, when they aren't just those of the message.
    """
    if context is None:
        context = context_headers.of_message(headers)
    draft = _Draft(task, caching_of(task), args, kwargs, context=context, mode=mode)
    draft.decide(is_disabled=context_headers.is_disabled())
    if not draft.bypass:
        serializer = context_headers.cache_header_of(headers).get("serializer")
        if isinstance(serializer, str):
            draft.serializer = serializer
        twice = sorted(context_headers.conflicts(headers) & set(draft.policy.vary))
        if twice:
            draft.refusal = ConflictingContext(task.name, twice[0])
        else:
            draft.identify()
            is_of_another_type = isinstance(draft.refusal, UnkeyableArgument)
            if is_of_another_type and not is_eager and not message_form.may_be_pickled(task):
                # It is registered with kombu: what its encoder says is all that there was.
                draft.form = draft.keyer.from_json
                draft.identify()
    return draft.request(is_request=is_request)


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


class _Draft:
    """A request while it is being made: its parts are decided one after the other.

    Args:
        task: The task.
        caching: Its runtime and keyer.
        args: Positional arguments.
        kwargs: Keyword arguments.
        context: The context headers in force for the call.
        mode: What it asks of the cache.
    """

    __slots__ = (
        "args", "batch", "bypass", "call", "context", "form", "is_shadowed", "is_verified", "keyer",
        "kwargs", "mode", "policy", "refusal", "runtime", "serializer", "task",
    )  # fmt: skip

    def __init__(
        self,
        task: CacheableTask,
        caching: Caching,
        args: Any,
        kwargs: Any,
        *,
        context: Mapping[str, Any],
        mode: Mode = "use",
    ) -> None:
        self.task, self.context, self.mode = task, context, mode
        self.runtime, self.keyer = caching
        self.policy: Policy = self.keyer.policy
        self.args: Sequence[Any] = args or ()
        self.kwargs: Mapping[str, Any] = kwargs or {}
        self.form = EXACT
        self.serializer: str | None = None
        self.call: Call | None = None
        self.batch: BatchCall | None = None
        self.refusal: UncacheableCall | None = None
        self.bypass = ""
        self.is_shadowed = self.is_verified = False

    def decide(self, *, is_disabled: bool) -> None:
        """Decide all about the call but its key: inside ``disabled()`` it bypasses the cache."""
        settings, policy = self.runtime.settings, self.policy
        if is_disabled and self.mode != "only":
            self.mode = "bypass"  # the worker's mode, too
        if not (settings.enabled and policy.enabled):
            self.bypass = "disabled"
        elif self.mode == SLOW:
            self.bypass = SLOW
        elif is_disabled or self.mode == "bypass":
            self.bypass = "bypass"
        is_shadowed = settings.shadow if policy.shadow is None else policy.shadow
        self.is_shadowed = is_shadowed and self.mode in ("use", "only")

    def identify(self, *, is_sent: bool = False) -> None:
        """Compute key and tags.

        Args:
            is_sent: Whether the arguments have yet to be in a message.
        """
        policy, keyer = self.policy, self.keyer
        self.refusal = None
        try:
            if is_sent:
                (self.args, self.kwargs), self.form = message_form.sent(
                    self.task, self.args, self.kwargs, self.serializer, keyer
                )
            if policy.each is not None:
                items = keyer.identify_each(self.args, self.kwargs, self.context, self.form)
                self.batch = make_batch(self.task.name, policy, items)
                return
            identity = keyer.identify(self.args, self.kwargs, self.context, self.form)
        except UncacheableCall as error:
            self.refusal = error
            return
        except SoftTimeLimitExceeded:
            raise  # the limit is the task's, which fails as it would without the cache
        except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (F1)
            self.runtime.observe(Fault(self.task.name, "look", error))
            self.bypass = "fault"
            return
        self.call = Call(self.task.name, identity.key, policy, identity.tags)
        is_drawn = self.mode == "use" and random() < policy.verify  # noqa: S311 - no secret
        self.is_verified = is_drawn or self.mode == VERIFY

    def check_list(self) -> None:
        """Check that the argument of ``cache_each`` is a list.

        Raises:
            BatchArgumentError: It isn't.
        """
        if isinstance(self.refusal, BatchArgumentError):
            raise self.refusal

    def request(self, *, is_request: bool) -> CallRequest:
        """Return the request, as all has been decided."""
        context, vary = self.context, self.policy.vary
        return CallRequest(
            task=self.task,
            runtime=self.runtime,
            keyer=self.keyer,
            policy=self.policy,
            args=self.args,
            kwargs=self.kwargs,
            form=self.form,
            context=context,
            vary={name: context[name] for name in vary if name in context} if vary else {},
            mode=self.mode,
            is_request=is_request,
            serializer=self.serializer,
            call=self.call,
            batch=self.batch,
            refusal=self.refusal,
            bypass=self.bypass,
            is_shadowed=self.is_shadowed,
            is_verified=self.is_verified,
        )
