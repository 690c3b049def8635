"""Identification of calls: their requests are made here, with key, tags and what is decided (K5).

All sites, direct calls, maps and eager calls make theirs here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import random
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.batch_call import BatchCall, make_batch
from ...cache.engine.lookup_record import VERIFY
from ...cache.outcome import Call
from ...cache.runs.request_directives import Mode, read_mode
from ...core.arguments.canonical import EXACT
from ...core.events import Fault
from ...core.options.policy import Policy
from ...errors import (
    BatchArgumentError,
    ConflictingContext,
    UncacheableCall,
    UnkeyableArgument,
)
from . import context as context_headers
from . import message_form
from .cacheable_task import CacheableTask
from .call_request import Caching, CallRequest, caching_of
from .context import InForce
from .lookup_result import SLOW


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
