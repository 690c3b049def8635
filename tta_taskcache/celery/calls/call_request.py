"""Call requests: what a call asks for, what identifies it, what was decided about it.

A request is made once, where the call comes in, and travels with it (promise K5). All sites, direct
calls, maps and eager calls make theirs here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
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

#: What a call asks of the cache: use it; run, and replace the entry; bypass it; answer from it or
#: raise ``CacheMiss``; answer from it, or run and store nothing.
PublicMode = Literal["use", "refresh", "bypass", "only", "no-store"]

#: The library's own modes: run and replace the entry unless it is fresh by then; run, and compare
#: with the entry; pass the cache by while it is slower than the call.
Mode = PublicMode | Literal["revalidate", "verify", "slow"]

#: The option of a call, and the field in our header, with the greatest age that it accepts (s).
MAX_AGE = "cache_max_age"

#: Most calls that are looked up in one round trip: bounds the size of its reply.
AT_ONCE = 500


def read_mode(mode: object) -> Mode:
    """Check the option ``cache`` of a call.

    Raises:
        ValueError: The mode is unknown; the message names those that are allowed.
    """
    if mode not in (*get_args(PublicMode), "revalidate", "verify"):
        allowed = ", ".join(repr(name) for name in get_args(PublicMode))
        raise ValueError(f"cache={mode!r}: must be one of {allowed}")
    return mode  # type: ignore[return-value]  # just checked


def read_max_age(value: object) -> float | None:
    """Check the option ``cache_max_age`` of a call; return seconds, or None for no bound.

    Raises:
        ValueError: The value isn't allowed; the message says what is.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if number is None:
        return None
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not is_number or not 0 <= number < inf:  # type: ignore[operator]  # a number
        raise ValueError(
            f"cache_max_age={value!r}: must be a number of seconds or a timedelta, 0 or more"
        )
    return float(number)  # type: ignore[arg-type]  # a number


@dataclass(frozen=True, slots=True, kw_only=True)
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
        call: Key, tags and policy of the call; None when it bypasses the cache or has no key.
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

    @property
    def leads(self) -> bool:
        """Whether it may lead equal calls: its run would store what they wait for."""
        return self.policy.coalesce and self.mode not in ("only", "no-store")

    def with_max_age(self, max_age: float | None) -> CallRequest:
        """Return the request of a caller who accepts no older answer, nor a stale one."""
        if max_age is None:
            return self
        call = replace(self.call, max_age=max_age) if self.call is not None else None
        return replace(self, call=call, max_age=max_age)

    def with_traits(self, call: Call) -> Call:
        """Return the call with the traits that its entry keeps (``core.traits``).

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
    """
    context, disabled = context_headers.of_new_call(headers), context_headers.is_disabled()
    request = _undecided(
        task, args, kwargs, context, mode, is_request=is_request, is_disabled=disabled
    )
    if is_identified is None:
        is_identified = not request.bypass
    if not is_identified:
        return request
    request = replace(request, serializer=serializer)
    try:
        arguments, form = message_form.sent(
            task, request.args, request.kwargs, serializer, request.keyer
        )
    except UncacheableCall as error:
        return replace(request, refusal=error)
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        return _faulty(request, error)
    return _identify(replace(request, args=arguments[0], kwargs=arguments[1], form=form))


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
    """
    mode, max_age = context_headers.mode_in_force()
    request = request_of_sender(
        task, args, kwargs, None, read_mode(mode or "use"), is_identified=is_identified
    ).with_max_age(max_age)
    if isinstance(request.refusal, UnkeyableArgument):
        as_it_is = replace(request, args=args, kwargs=kwargs, form=EXACT, refusal=None)
        return _identify(as_it_is).with_max_age(max_age)
    return request


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
    disabled = context_headers.is_disabled()
    request = _undecided(
        task, args, kwargs, context, mode, is_request=is_request, is_disabled=disabled
    )
    if request.bypass:
        return request
    serializer = context_headers.cache_header_of(headers).get("serializer")
    if isinstance(serializer, str):
        request = replace(request, serializer=serializer)
    twice = sorted(context_headers.conflicts(headers) & set(request.policy.vary))
    if twice:
        return replace(request, refusal=ConflictingContext(task.name, twice[0]))
    identified = _identify(request)
    if not isinstance(identified.refusal, UnkeyableArgument):
        return identified
    if is_eager or message_form.may_be_pickled(task):
        return identified
    # Of a type that is registered with kombu: what its encoder says is all that there was.
    return _identify(replace(request, form=task.cache_keyer.from_json))


def _undecided(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    context: Mapping[str, Any],
    mode: Mode,
    *,
    is_request: bool,
    is_disabled: bool,
) -> CallRequest:
    """Decide all about a call but its key: inside ``disabled()`` it bypasses the cache."""
    runtime, keyer = task.cache_runtime, task.cache_keyer
    policy, bypass = keyer.policy, ""
    if is_disabled and mode != "only":
        mode = "bypass"  # the worker's mode, too
    if not (runtime.settings.enabled and policy.enabled):
        bypass = "disabled"
    elif mode == SLOW:
        bypass = SLOW
    elif is_disabled or mode == "bypass":
        bypass = "bypass"
    own = policy.shadow
    is_shadowed = runtime.settings.shadow if own is None else own
    return CallRequest(
        task=task,
        runtime=runtime,
        keyer=keyer,
        policy=policy,
        args=args or (),
        kwargs=kwargs or {},
        form=EXACT,
        context=context,
        vary={name: context[name] for name in policy.vary if name in context},
        mode=mode,
        is_request=is_request,
        bypass=bypass,
        is_shadowed=is_shadowed and mode in ("use", "only"),
    )


def _identify(request: CallRequest) -> CallRequest:
    task = request.task
    try:
        identity = request.keyer.identify(
            request.args, request.kwargs, request.context, request.form
        )
    except UncacheableCall as error:
        return replace(request, refusal=error)
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        return _faulty(request, error)
    call = Call(task.name, identity.key, request.policy, identity.tags)
    is_drawn = request.mode == "use" and random() < request.policy.verify  # noqa: S311 - no secret
    return replace(request, call=call, is_verified=is_drawn or request.mode == VERIFY)


def _faulty(request: CallRequest, error: Exception) -> CallRequest:
    request.runtime.observe(Fault(request.task.name, "look", error))
    return replace(request, bypass="fault")
