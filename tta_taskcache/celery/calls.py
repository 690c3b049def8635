"""What the three sites have in common: which call is it, may it be answered here, is it stored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from billiard.exceptions import SoftTimeLimitExceeded

from ..cache.engine import Call, Hit, Miss
from ..core.entry import Position
from ..core.events import Fault, Lookup
from ..core.policy import Site
from ..errors import UncacheableCall
from . import context
from .status import CacheStatus

if TYPE_CHECKING:
    from .task import CachedTask

#: What one call asks of the cache: use it, run and replace what is stored, pass it by, or answer
#: from it or not at all.
Mode = Literal["use", "refresh", "bypass", "only"]


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
class Seen:
    """What a site found out about a call.

    Attributes:
        call: The call, or None when it can't be cached.
        hit: The answer, or None.
        position: For a miss: the log's position to store a result with.
        at: For a miss in L2: when that was (Unix seconds).
        reason: For a miss or bypass: why.
    """

    call: Call | None
    hit: Hit | None = None
    position: Position | None = None
    at: float = 0.0
    reason: str = ""

    def status(self, site: Site | None) -> CacheStatus:
        """This as a user sees it."""
        key = self.call.key if self.call else None
        if self.hit is None:
            return CacheStatus(hit=False, key=key, site=site, reason=self.reason)
        return CacheStatus(
            hit=True,
            key=key,
            site=site,
            layer=self.hit.layer,
            age=self.hit.age,
            task_id=self.hit.entry.task_id,
        )


def identify(
    task: CachedTask, args: Sequence[Any], kwargs: Mapping[str, Any], headers: Mapping[str, Any]
) -> Call:
    """Return the cacheable call.

    Raises:
        TypeError: The arguments don't fit the task.
        UncacheableCall: It can't have a key.
    """
    keyer = task.cache_keyer()
    return Call(task.name, keyer.key(args, kwargs, headers), keyer.policy)


def look(
    task: CachedTask,
    site: Site,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    headers: Mapping[str, Any],
    mode: Mode,
    handed_over: Seen | None = None,
) -> Seen:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    Args:
        task: The task.
        site: Where.
        args: Positional arguments.
        kwargs: Keyword arguments.
        headers: The context in force for the call.
        mode: What the call asks for.
        handed_over: What the site before has just found out, if it was a miss.
    """
    runtime = task.taskcache().runtime
    policy = task.cache_keyer().policy
    bypass = _bypass(runtime.settings.enabled and policy.enabled, mode)
    call: Call | None = None
    reason = bypass
    try:
        if not bypass:
            call = identify(task, args, kwargs, headers)
            if handed_over is not None and handed_over.position is not None:
                return Seen(call, position=handed_over.position, at=handed_over.at, reason="recent")
            if mode == "refresh" or site not in policy.sites:
                reason = "refresh" if mode == "refresh" else "site"
            else:
                return _found(call, runtime.run(runtime.engine.look(call, site)))
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except UncacheableCall as error:
        reason = error.reason
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        reason = "fault"
        runtime.observe(Fault(task.name, "look", error))
    runtime.observe(Lookup(task.name, call.key if call else None, site, None, reason))
    return Seen(call, reason=reason)


def _bypass(enabled: bool, mode: Mode) -> str:
    if not enabled:
        return "disabled"
    if mode == "bypass" or context.is_switched_off():
        return "bypass"
    return ""


def _found(call: Call, found: Hit | Miss) -> Seen:
    if isinstance(found, Hit):
        return Seen(call, hit=found)
    return Seen(call, position=found.position, at=time.time(), reason=found.reason)


def hand_over(seen: Seen) -> list[Any] | None:
    """A miss in the form that travels in our header: time, incarnation, sequence."""
    if seen.position is None:
        return None
    return [seen.at, seen.position.incarnation, seen.position.sequence]


def take_over(stamp: Mapping[str, Any], within: float) -> Seen | None:
    """Read what the site before found, while it is at most ``within`` seconds old.

    It only saves a round trip: looking again would find what was stored in between. The position
    of the log is older than the computation, so storing with it is safe. Clocks that differ make
    it look again, or not look at all, never more.
    """
    match stamp.get("seen"):
        case [int() | float() as at, str() as incarnation, int() as sequence]:
            if 0 <= time.time() - at <= within:
                return Seen(None, position=Position(incarnation, sequence), at=at, reason="recent")
    return None
