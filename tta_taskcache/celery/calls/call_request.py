"""A request for a call: what it asks for, what identifies it, what was decided about it.

It is made once, where the call comes in, and travels with it (promise K5): each site, direct calls,
maps and eager calls make it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import random
from typing import Any, Literal, TypeGuard, get_args

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.lookup_record import VERIFY
from ...cache.outcome import Call
from ...core.canonical import EXACT, Form
from ...core.events import Fault
from ...core.keys import Keyer
from ...core.policy import Policy
from ...errors import ConflictingContext, UncacheableCall, UnkeyableArgument
from ..config.runtime import Runtime
from . import context as context_headers
from . import message_form
from .cacheable_task import CacheableTask
from .lookup_result import SLOW

#: What one call asks of the cache: use it, run and replace what is stored, pass it by, or answer
#: from it or not at all.
PublicMode = Literal["use", "refresh", "bypass", "only"]

#: And what we ask ourselves: run and replace what is stored, unless that is fresh by then; run, and
#: compare with what is stored; and pass the cache by, because it is slow just now.
Mode = PublicMode | Literal["revalidate", "verify", "slow"]

#: Calls that are looked up together: a round trip for all, and a bound on what comes in at once.
AT_ONCE = 500


def read_mode(mode: object) -> Mode:
    """Check a ``cache=`` option.

    Raises:
        ValueError: Naming what is allowed.
    """
    if mode not in (*get_args(PublicMode), "revalidate", "verify"):
        allowed = ", ".join(repr(name) for name in get_args(PublicMode))
        raise ValueError(f"cache={mode!r}: must be one of {allowed}")
    return mode  # type: ignore[return-value]  # just checked


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A request for a call of a cached task.

    Attributes:
        task: The task.
        runtime: The cache of this process.
        policy: The task's policy.
        args: Positional arguments, as they identify the call.
        kwargs: Keyword arguments, likewise.
        form: How these get to the body.
        context: The context headers in force for it.
        mode: What it asks of the cache.
        is_request: Whether somebody asks for it now: it is no retry, and no warming's.
        serializer: Name of its message's serializer, if that isn't the task's and is known.
        call: What identifies it; None when the cache has nothing to do with it.
        refusal: Why it has no key, if so.
        bypass: The reason why the cache has nothing to do with it, if so.
        is_shadowed: Whether it is only looked up and counted, and runs.
        is_verified: Whether an answer isn't served: the call runs as well, to be compared with it.
    """

    task: CacheableTask
    runtime: Runtime
    policy: Policy
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    form: Form
    context: Mapping[str, Any]
    mode: Mode
    is_request: bool
    serializer: str | None = None
    call: Call | None = None
    refusal: UncacheableCall | None = None
    bypass: str = ""
    is_shadowed: bool = False
    is_verified: bool = False

    def identified(self) -> Call:
        """The call.

        Raises:
            UncacheableCall: It has no key.
        """
        if self.call is not None:
            return self.call
        raise self.refusal or UncacheableCall(f"task {self.task.name!r}: {self.bypass}")

    def with_traits(self, call: Call) -> Call:
        """The call with what its entry is to keep of its arguments and context.

        Raises:
            UncacheableCall: It can't have a key.
        """
        secret = self.runtime.engine.parts.secret
        keyer = self.task.cache_keyer
        traits = keyer.traits(self.args, self.kwargs, self.context, secret, self.form)
        return replace(call, traits=traits)

    def received(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments as the body gets them from a message that identifies it like this."""
        if self.form.exact:
            return self.args, self.kwargs
        name = message_form.serializer_of(self.task, self.serializer)
        return message_form.received(self.args, self.kwargs, name)

    @property
    def vary(self) -> dict[str, Any]:
        """The context headers that are part of the key, as far as it has them."""
        return {name: self.context[name] for name in self.policy.vary if name in self.context}


def is_builtin(task: type) -> bool:
    """Whether a task class is of Celery's own or of this library's.

    An app's ``task_cls`` is theirs, too, and what they do isn't to be cached: groups and chords are
    made, results are cleaned up, entries are invalidated.
    """
    return task.__module__.startswith(("celery.", "tta_taskcache."))


def is_cached(task: object) -> TypeGuard[CacheableTask]:
    """Whether a task is a ``CachedTask``."""
    return isinstance(getattr(task, "_cache_keyer", None), Keyer)


def is_enabled(task: CacheableTask) -> bool:
    """Whether the app and the task have caching on."""
    return task.cache_runtime.settings.enabled and task.cache_policy.enabled


def request_of_sender(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    context: Mapping[str, Any],
    mode: Mode = "use",
    *,
    serializer: str | None = None,
    is_request: bool = True,
    is_identified: bool | None = None,
) -> CallRequest:
    """A request for a call whose arguments haven't been in a message yet.

    Args:
        task: The task.
        args: Positional arguments, as the caller gave them.
        kwargs: Keyword arguments, likewise.
        context: The context headers in force for it.
        mode: What it asks of the cache.
        serializer: Name of the message's serializer, if it isn't the task's.
        is_request: Whether somebody asks for it now.
        is_identified: Whether the key is wanted, whatever the cache has to do with it; without a
            word, when it has.
    """
    request = _undecided(task, args, kwargs, context, mode, is_request=is_request)
    if is_identified is None:
        is_identified = not request.bypass
    if not is_identified:
        return request
    request = replace(request, serializer=serializer)
    try:
        name = message_form.serializer_of(task, serializer)
        dumped = message_form.dumped(task, request.args, request.kwargs, name)
        arguments, form = message_form.in_message(*dumped, name, task.cache_keyer)
    except UncacheableCall as error:
        return replace(request, refusal=error)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        return _faulty(request, error)
    return _identify(replace(request, args=arguments[0], kwargs=arguments[1], form=form))


def request_of_caller(
    task: CacheableTask, args: Any, kwargs: Any, *, is_identified: bool | None = None
) -> CallRequest:
    """A request for a direct call (``task.cache``), which shares entries with calls by message.

    What a message of the task can't carry identifies a direct call as it is.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        is_identified: As of ``request_of_sender``.
    """
    context = context_headers.of_new_call(None)
    request = request_of_sender(task, args, kwargs, context, is_identified=is_identified)
    if isinstance(request.refusal, UnkeyableArgument):
        as_it_is = replace(request, args=args, kwargs=kwargs, form=EXACT, refusal=None)
        return _identify(as_it_is)
    return request


def request_of_message(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    headers: Mapping[str, Any] | None,
    mode: Mode = "use",
    *,
    is_request: bool = True,
    context: Mapping[str, Any] | None = None,
) -> CallRequest:
    """A request for a call whose arguments are those that the body gets.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        headers: The headers that it came with.
        mode: What it asks of the cache.
        is_request: Whether somebody asks for it now.
        context: The context headers in force for it, when they aren't just those of the message.
    """
    if context is None:
        context = context_headers.of_message(headers)
    request = _undecided(task, args, kwargs, context, mode, is_request=is_request)
    if request.bypass:
        return request
    twice = sorted(context_headers.conflicts(headers) & set(request.policy.vary))
    if twice:
        return replace(request, refusal=ConflictingContext(task.name, twice[0]))
    return _identify(request)


def _undecided(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    context: Mapping[str, Any],
    mode: Mode,
    *,
    is_request: bool,
) -> CallRequest:
    runtime, policy = task.cache_runtime, task.cache_policy
    bypass = ""
    if not (runtime.settings.enabled and policy.enabled):
        bypass = "disabled"
    elif mode == SLOW:
        bypass = SLOW
    elif mode == "bypass" or context_headers.is_disabled():
        bypass = "bypass"
    own = policy.shadow
    is_shadowed = runtime.settings.shadow if own is None else own
    return CallRequest(
        task=task,
        runtime=runtime,
        policy=policy,
        args=args or (),
        kwargs=kwargs or {},
        form=EXACT,
        context=context,
        mode=mode,
        is_request=is_request,
        bypass=bypass,
        is_shadowed=is_shadowed and mode in ("use", "only"),
    )


def _identify(request: CallRequest) -> CallRequest:
    task = request.task
    try:
        identity = task.cache_keyer.identify(
            request.args, request.kwargs, request.context, request.form
        )
    except UncacheableCall as error:
        return replace(request, refusal=error)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        return _faulty(request, error)
    call = Call(task.name, identity.key, request.policy, identity.tags)
    is_drawn = request.mode == "use" and random() < request.policy.verify  # noqa: S311 - no secret
    return replace(request, call=call, is_verified=is_drawn or request.mode == VERIFY)


def _faulty(request: CallRequest, error: Exception) -> CallRequest:
    request.runtime.observe(Fault(request.task.name, "look", error))
    return replace(request, bypass="fault")
