"""The leases that a process or an event loop holds: their renewals and ends (promise C3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from ...core.entries.lease import Holding, Stage
from ...core.events import Fault, Observe
from ...errors import StoreUnavailable
from ...stores.protocol import Release, Renew
from ..engine.new_entry import MAX_RUN
from ..plan import Plan
from ..side_by_side import side_by_side

#: A lease is renewed this many times before it would lapse.
RENEWALS = 3

#: A lease that couldn't be ended is tried again after this share of its ttl.
RETRY = 0.05

#: Returns the stage of a computation; None when it will not end, so that another call leads.
Progress = Callable[[], Stage | None]


def _do_nothing() -> None:
    """Nobody waits for the end of a lease."""


@dataclass(slots=True)
class _KeptLease:
    """A lease to be renewed, or (without ``progress``) to be ended; ``ended`` is called then."""

    key: str
    owner: str
    progress: Progress | None
    due: float
    until: float
    unshared: float = 0.0
    ended: Callable[[], object] = _do_nothing


class HeldLeases:
    """Leases that are renewed until they are let go of or ended.

    A thread or an asyncio task runs ``do_what_is_due`` whenever a renewal or an end is due.

    Args:
        ttl: Seconds that a lease lasts.
        observe: Receives faults.
        clock: Monotonic seconds.
    """

    def __init__(
        self, ttl: float, observe: Observe, clock: Callable[[], float] = monotonic
    ) -> None:
        self.ttl = ttl
        self._observe = observe
        self._clock = clock
        self._held: dict[str, _KeptLease] = {}

    def _alert(self) -> None:
        """Wake the thread or task: a lease may be due earlier than it waits for."""
        raise NotImplementedError

    def hold(self, key: str, owner: str, progress: Progress, *, renew_in: float) -> None:
        """Renew a lease regularly, for the first time after ``renew_in`` seconds."""
        self.hold_all([(key, owner)], progress, renew_in=renew_in)

    def hold_all(
        self, leases: Sequence[tuple[str, str]], progress: Progress, *, renew_in: float
    ) -> None:
        """Renew the leases of one computation: pairs of key and owner."""
        now = self._clock()
        for key, owner in leases:
            self._held[owner] = _KeptLease(key, owner, progress, now + renew_in, now + MAX_RUN)
        if leases:
            self._alert()

    def let_go(self, *owners: str) -> None:
        """Stop renewing leases, which have ended or may lapse."""
        for owner in owners:
            self._held.pop(owner, None)

    def end(
        self,
        key: str,
        owner: str,
        unshared: float = 0.0,
        ended: Callable[[], object] = _do_nothing,
    ) -> None:
        """End a lease, if the owner has it, as soon as the store can be reached.

        Works as well for a claim whose reply was lost, which may have been granted or not.

        Args:
            key: The call's key.
            owner: The owner.
            unshared: Seconds for which equal calls then don't wait for one another (promise C6); 0
                lets the next one lead.
            ended: Called when the store has been asked to end it, whatever it replied.
        """
        now = self._clock()
        self._held[owner] = _KeptLease(key, owner, None, now, now + self.ttl, unshared, ended)
        self._alert()

    def end_all(self, leases: Sequence[tuple[str, str]], unshared: float = 0.0) -> None:
        """End leases as ``end`` does: pairs of key and owner."""
        now = self._clock()
        for key, owner in leases:
            self._held[owner] = _KeptLease(key, owner, None, now, now + self.ttl, unshared)
        if leases:
            self._alert()

    def renew_now(self, *owners: str) -> None:
        """Renew leases at once, as their computation has begun."""
        held = [self._held[owner] for owner in owners if owner in self._held]
        for each in held:
            each.due = self._clock()
        if held:
            self._alert()

    def holds(self, key: str) -> bool:
        """Whether the lease of a key is held by this process."""
        return any(held.key == key for held in list(self._held.values()))

    def pause(self) -> float | None:
        """Return the seconds until a lease is due; None when no lease is held."""
        due = min((held.due for held in list(self._held.values())), default=None)
        return None if due is None else max(0.0, due - self._clock())

    def do_what_is_due(self) -> Plan[None]:
        """Renew the leases that are due, and end those whose computation is over."""
        now = self._clock()
        due = [held for held in list(self._held.values()) if held.due <= now]
        renewals: list[tuple[_KeptLease, Holding]] = []
        for held in due:
            if held.progress is None:
                continue
            held.due = now + self.ttl / RENEWALS
            stage = self._stage(held.progress) if now < held.until else None
            if stage is None:  # the leader is gone or stuck: let another call lead
                held.progress, held.until = None, now + self.ttl
            else:
                renewals.append((held, Holding(held.key, held.owner, stage)))
        if renewals:
            yield from self._renew_all(renewals)
        yield from side_by_side([self._end(held, now) for held in due if held.progress is None])

    def _stage(self, progress: Progress) -> Stage | None:
        try:
            return progress()
        except Exception as error:  # noqa: BLE001 - the other leases are still to be renewed
            self._observe(Fault("", "renew", error))
            return None

    def _end(self, held: _KeptLease, now: float) -> Plan[None]:
        try:
            if now < held.until:
                held.due = now + self.ttl * RETRY
                yield Release(held.key, held.owner, held.unshared)
            self._drop(held)
        except StoreUnavailable:
            pass  # it is tried again
        finally:
            held.ended()

    def _renew_all(self, renewals: list[tuple[_KeptLease, Holding]]) -> Plan[None]:
        try:
            kept: list[bool] = yield Renew(tuple(holding for _, holding in renewals), self.ttl)
        except StoreUnavailable:
            return  # they lapse, unless the next renewal succeeds
        for (held, _), is_kept in zip(renewals, kept, strict=True):
            if not is_kept:
                self._drop(held)

    def _drop(self, held: _KeptLease) -> None:
        """Forget a lease, unless ``end`` has replaced it meanwhile."""
        newer = self._held.pop(held.owner, None)
        if newer is not None and newer is not held:
            self._held.setdefault(held.owner, newer)
