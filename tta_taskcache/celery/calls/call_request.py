"""What the three sites have in common: which call is it, may it be answered here, is it stored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard, get_args

from ...cache.outcome import Call, Hit, Miss
from ...core.entry import Position
from ...core.keys import Keyer
from ...core.lease import Lease
from ...core.option_values import Site
from .cacheable_task import CacheableTask
from .status import CacheStatus

#: What one call asks of the cache: use it, run and replace what is stored, pass it by, or answer
#: from it or not at all.
PublicMode = Literal["use", "refresh", "bypass", "only"]

#: And what we ask ourselves: run and replace what is stored, unless that is fresh by then; and run,
#: and compare with what is stored.
Mode = PublicMode | Literal["revalidate", "verify"]

#: The reason of a miss that was asked for.
REFRESH = "refresh"

#: Calls that are looked up together: a round trip for all, and a bound on what comes in at once.
AT_ONCE = 500

#: The name under which lookups of ``task.cache`` are counted, which happen at no site.
DIRECT = "direct"


def read_mode(mode: object) -> Mode:
    """Check a ``cache=`` option.

    Raises:
        ValueError: Naming what is allowed.
    """
    if mode not in (*get_args(PublicMode), "revalidate", "verify"):
        allowed = ", ".join(repr(name) for name in get_args(PublicMode))
        raise ValueError(f"cache={mode!r}: must be one of {allowed}")
    return mode  # type: ignore[return-value]  # just checked


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call as it was made.

    Attributes:
        task: The task.
        args: Positional arguments, as a worker gets them.
        kwargs: Keyword arguments, likewise.
        context: The context headers in force for it.
        mode: What it asks of the cache.
        is_request: Whether somebody asks for it now: it is no retry, and no warming's.
    """

    task: CacheableTask
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    context: Mapping[str, Any]
    mode: Mode = "use"
    is_request: bool = True


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What a site found out about a call.

    Attributes:
        call: The call, or None when it can't be cached.
        hit: The answer, or None.
        position: For a miss: the log's position to store a result with.
        at: For a miss in L2: when that was (Unix seconds).
        reason: For a miss or bypass: why.
        lease: What came of the claim to lead, if one was made.
        instead: What the call could be answered with, and isn't: it runs, to be compared with it.
        seconds: How long the look took, when several calls were looked up: this one's share.
    """

    call: Call | None
    hit: Hit | None = None
    position: Position | None = None
    at: float = 0.0
    reason: str = ""
    lease: Lease | None = None
    instead: Hit | None = None
    seconds: float | None = None

    @property
    def outcome(self) -> Hit | Miss:
        """What the look found."""
        return self.hit or Miss(self.reason, self.position, self.lease)

    @property
    def owner(self) -> str:
        """Owner of the lease when this call leads; else empty."""
        return self.lease.owner if self.lease is not None else ""

    @property
    def follows(self) -> bool:
        """Whether an equal call is in flight elsewhere."""
        return self.lease is not None and self.lease.is_followed

    def status(self, site: Site | None) -> CacheStatus:
        """What a user sees of it."""
        key = self.call.key if self.call else None
        name = site.value if site else None
        if self.hit is None:
            return CacheStatus(hit=False, key=key, site=name, reason=self.reason)
        return CacheStatus(
            hit=True,
            key=key,
            site=name,
            layer=self.hit.layer,
            stale=self.hit.verdict.is_stale,
            age=self.hit.age,
            task_id=self.hit.entry.task_id,
        )


def is_cached(task: object) -> TypeGuard[CacheableTask]:
    """Whether a task is a ``CachedTask``."""
    return isinstance(getattr(task, "_cache_keyer", None), Keyer)


def identify(call_request: CallRequest) -> Call:
    """Return the cacheable call.

    Raises:
        WrongArguments: The arguments don't fit the task.
        UncacheableCall: It can't have a key.
    """
    keyer = call_request.task.cache_keyer
    identity = keyer.identify(call_request.args, call_request.kwargs, call_request.context)
    return Call(call_request.task.name, identity.key, keyer.policy, identity.tags)


def with_traits(call_request: CallRequest, call: Call) -> Call:
    """The call with what its entry is to keep of its arguments and context.

    Raises:
        UncacheableCall: It can't have a key.
    """
    secret = call_request.task.cache_runtime.engine.parts.secret
    keyer = call_request.task.cache_keyer
    traits = keyer.traits(call_request.args, call_request.kwargs, call_request.context, secret)
    return replace(call, traits=traits)


def as_sent(call_request: CallRequest, serializer: str | None = None) -> CallRequest:
    """The call as the worker gets it: Celery dumps pydantic models before it sends them."""
    task = call_request.task
    dump = getattr(task, "_dump_pydantic_arguments", None)
    if dump is None or (serializer or task.serializer) == "pickle":
        return call_request
    args, kwargs = dump(call_request.args, call_request.kwargs)
    return replace(call_request, args=args, kwargs=kwargs)


def is_enabled(task: CacheableTask) -> bool:
    """Whether the app and the task have caching on."""
    return task.cache_runtime.settings.enabled and task.cache_policy.enabled


def is_shadowed(task: CacheableTask) -> bool:
    """Whether calls of the task are only looked up and counted, and run."""
    own = task.cache_policy.shadow
    return task.cache_runtime.settings.shadow if own is None else own


def to_lookup_result(call: Call, outcome: Hit | Miss, seconds: float | None = None) -> LookupResult:
    """What a site has seen when it looked just now."""
    if isinstance(outcome, Hit):
        return LookupResult(call, hit=outcome, seconds=seconds)
    return LookupResult(
        call,
        position=outcome.position,
        at=time.time(),
        reason=outcome.reason,
        lease=outcome.lease,
        seconds=seconds,
    )
