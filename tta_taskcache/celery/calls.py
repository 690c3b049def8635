"""What the three sites have in common: which call is it, may it be answered here, is it stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

from billiard.exceptions import SoftTimeLimitExceeded

from ..cache.outcome import Call, Hit, Miss
from ..cache.plan import Plan
from ..core.entry import Position
from ..core.events import Fault, Lookup
from ..core.keys import Keyer
from ..core.lease import Claim, Lease
from ..core.policy import Site
from ..errors import UncacheableCall
from . import context
from .status import CacheStatus

if TYPE_CHECKING:
    from .task import CachedTask

#: What one call asks of the cache: use it, run and replace what is stored, pass it by, or answer
#: from it or not at all.
Mode = Literal["use", "refresh", "bypass", "only"]

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
    if mode not in get_args(Mode):
        allowed = ", ".join(repr(name) for name in get_args(Mode))
        raise ValueError(f"cache={mode!r}: must be one of {allowed}")
    return mode  # type: ignore[return-value]  # just checked


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as it was made.

    Attributes:
        task: The task.
        args: Positional arguments, as a worker gets them.
        kwargs: Keyword arguments, likewise.
        context: The context headers in force for it.
        mode: What it asks of the cache.
    """

    task: CachedTask
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    context: Mapping[str, Any]
    mode: Mode = "use"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a site found out about a call.

    Attributes:
        call: The call, or None when it can't be cached.
        hit: The answer, or None.
        position: For a miss: the log's position to store a result with.
        at: For a miss in L2: when that was (Unix seconds).
        reason: For a miss or bypass: why.
        lease: What came of the claim to lead, if one was made.
    """

    call: Call | None
    hit: Hit | None = None
    position: Position | None = None
    at: float = 0.0
    reason: str = ""
    lease: Lease | None = None

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
            age=self.hit.age,
            task_id=self.hit.entry.task_id,
        )


def is_cached(task: object) -> TypeGuard[CachedTask]:
    """Whether a task is a ``CachedTask``."""
    return isinstance(getattr(task, "_cache_keyer", None), Keyer)


def identify(asked: Asked) -> Call:
    """Return the cacheable call.

    Raises:
        WrongArguments: The arguments don't fit the task.
        UncacheableCall: It can't have a key.
    """
    keyer = asked.task.taskcache_keyer()
    identity = keyer.identify(asked.args, asked.kwargs, asked.context)
    return Call(asked.task.name, identity.key, keyer.policy, identity.tags)


def as_sent(asked: Asked, serializer: str | None = None) -> Asked:
    """The call as the worker gets it: Celery dumps pydantic models before it sends them."""
    task = asked.task
    dump = getattr(task, "_dump_pydantic_arguments", None)
    if dump is None or (serializer or task.serializer) == "pickle":
        return asked
    args, kwargs = dump(asked.args, asked.kwargs)
    return replace(asked, args=args, kwargs=kwargs)


def look(
    asked: Asked,
    site: Site | None,
    handed_over: Seen | None = None,
    claim: Claim | None = None,
    *,
    plan: Callable[[Call, str, Claim], Plan[Hit | Miss]] | None = None,
    known: Seen | None = None,
) -> Seen:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    Args:
        asked: The call.
        site: Where; None for ``task.cache``, which needs no leave.
        handed_over: What the site before has just found out, if it was a miss.
        claim: Take the lease on the way, if the task coalesces.
        plan: How to look with a claim, if not with ``Engine.look``.
        known: What ``look_all`` has found.
    """
    task = asked.task
    runtime = task.taskcache().runtime
    call: Call | None = None
    position: Position | None = None
    reason = _bypass(asked)
    try:
        if not reason:
            call = identify(asked)
            if handed_over is not None:
                return replace(handed_over, call=call)
            reason = _pass_by(call, site, asked.mode)
            if not reason:
                if known is not None and known.call == call:
                    runtime.engine.tell(call, site or DIRECT, known.outcome)
                    return known
                if claim is not None and call.policy.coalesce:
                    leading = (plan or runtime.engine.look)(call, site or DIRECT, claim)
                    return found(call, runtime.run(leading))
                return found(call, runtime.run(runtime.engine.look(call, site or DIRECT)))
            if site is Site.POOL:
                position = runtime.run(runtime.engine.position(call))
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except UncacheableCall as error:
        reason = error.reason
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        reason = "fault"
        runtime.observe(Fault(task.name, "look", error))
    runtime.observe(Lookup(task.name, call.key if call else None, site or DIRECT, None, reason))
    return Seen(call, position=position, reason=reason)


def look_all(
    asked: Sequence[Asked], site: Site, claims: Sequence[Claim | None]
) -> list[Seen | None]:
    """Look for the answers to several calls of one app at once. Tells nobody: ``look`` does.

    Returns:
        For each what was found; None where ``look`` has to see by itself.
    """
    if not asked:
        return []
    runtime = asked[0].task.taskcache().runtime
    seen: list[Seen | None] = [None] * len(asked)
    calls: dict[int, Call] = {}
    try:
        for i, one in enumerate(asked):
            call = _cacheable(one)
            if call is not None and not _pass_by(call, site, one.mode):
                calls[i] = call
        claimed = [claims[i] if call.policy.coalesce else None for i, call in calls.items()]
        outcomes = runtime.run(runtime.engine.find_many(list(calls.values()), claimed))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(asked[0].task.name, "look", error))
    else:
        for (i, call), outcome in zip(calls.items(), outcomes, strict=True):
            seen[i] = found(call, outcome)
    return seen


def _cacheable(asked: Asked) -> Call | None:
    """The call, if the cache has to do with it."""
    if _bypass(asked):
        return None
    try:
        return identify(asked)
    except UncacheableCall:
        return None


def _bypass(asked: Asked) -> str:
    """Why a call has nothing to do with the cache, or nothing."""
    if not is_enabled(asked.task):
        return "disabled"
    if asked.mode == "bypass" or context.is_switched_off():
        return "bypass"
    return ""


def _pass_by(call: Call, site: Site | None, mode: Mode) -> str:
    """Why a cacheable call isn't answered at a site, or nothing."""
    if mode == "refresh":
        return REFRESH
    if site is not None and site not in call.policy.sites:
        return "site"
    return ""


def is_enabled(task: CachedTask) -> bool:
    """Whether the app and the task have caching on."""
    return task.taskcache().runtime.settings.enabled and task.taskcache_keyer().policy.enabled


def found(call: Call, outcome: Hit | Miss) -> Seen:
    """What a site has seen when it looked just now."""
    if isinstance(outcome, Hit):
        return Seen(call, hit=outcome)
    return Seen(
        call,
        position=outcome.position,
        at=time.time(),
        reason=outcome.reason,
        lease=outcome.lease,
    )
