"""What the three sites have in common: which call is it, may it be answered here, is it stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from billiard.exceptions import SoftTimeLimitExceeded

from ..cache.outcome import Call, Hit, Miss
from ..cache.plan import Plan
from ..core.entry import Position
from ..core.events import Fault, Lookup, Ran
from ..core.lease import Claim, Lease, Stage
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

#: Seconds for which a site trusts what the site before has found. A message takes a few
#: milliseconds to a free worker; one that had to wait is looked up again.
HAND_OVER = 0.05

#: Seconds that a producer's reservation lasts, which nobody renews: the worker that trusts its look
#: does so within ``HAND_OVER``, and renews it as its own soon after.
RESERVED_FOR = 1.0

#: A reservation with no more than this left (s) gives way to a call that a worker has in hand: its
#: message waits in some queue, and may for long.
OVERTAKEN_AT = 0.5

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
    plan: Callable[[Call, str, Claim], Plan[Hit | Miss]] | None = None,
) -> Seen:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    Args:
        asked: The call.
        site: Where; None for ``task.cache``, which needs no leave.
        handed_over: What the site before has just found out, if it was a miss.
        claim: Take the lease on the way, if the task coalesces.
        plan: How to look with a claim, if not with ``Engine.look``.
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


def store(
    task: CachedTask, seen: Seen, value: Any, run_seconds: float, task_id: str | None
) -> bool:
    """Store the result of a run, if its call can be cached. Never raises."""
    runtime = task.taskcache().runtime
    call = seen.call
    runtime.observe(Ran(task.name, call.key if call else None, run_seconds))
    if call is None:
        return False
    try:
        fill = runtime.engine.fill(
            call,
            seen.position,
            value,
            run_seconds=run_seconds,
            task_id=task_id,
            owner=seen.owner,
            replaces=seen.reason == REFRESH,
        )
        return runtime.run(fill)
    except Exception as error:  # noqa: BLE001 - the task has run: even its time limit comes too late
        runtime.observe(Fault(task.name, "fill", error))
        return False


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


def hand_over(seen: Seen) -> list[Any] | None:
    """A miss in the form that travels in our header: time, incarnation, sequence, owner.

    Nothing when an equal call is in flight: the next site has to look whether it still is.
    """
    if seen.position is None or seen.follows:
        return None
    return [seen.at, seen.position.incarnation, seen.position.sequence, seen.owner]


def take_over(stamp: Mapping[str, Any]) -> Seen | None:
    """Read what the site before found, while it is too young for much to have happened since.

    It saves a round trip. The log's position is older than the run, so storing with it is safe; and
    the lease that came with it keeps equal calls waiting. A call without one may miss what was
    stored in the meantime: then it runs as it would have, had it come a moment earlier. Where
    clocks differ, a site looks again, or trusts for longer than it should.
    """
    match stamp.get("seen"):
        case [int() | float() as at, str() as incarnation, int() as sequence, str() as owner]:
            # A leader's main process renews its lease: it may have waited for the pool.
            leads = bool(owner) and stamp.get("leads") is True
            if leads or 0 <= time.time() - at <= HAND_OVER:
                position = Position(incarnation, sequence)
                lease = Lease(owner, position, Stage.RESERVED) if owner else None
                return Seen(None, position=position, at=at, reason="recent", lease=lease)
    return None
