"""Read-through in asyncio: the stored result of a call, or the result of its run.

Of equal calls in flight, in all processes, one runs and the others wait for its result (C1). When
the leader is cancelled, the next of its followers runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from secrets import token_hex
from time import monotonic
from typing import Any, Protocol

from ...core.entries.entry import Position
from ...core.entries.lease import Claim, Stage
from ...core.events import Fault, Lookup, NoResult, Ran, Shadowed, Verified
from ...core.record import record
from ...core.results.not_modified import NOT_MODIFIED
from ...core.results.remembered_errors import encode_error
from ...errors import CacheMiss, UnserializableResult
from ..comparing_runs import compare
from ..engine.judgement import REPLACED
from ..engine.lookup_record import SHADOW, VERIFY
from ..engine.writer import UNSHARED_FOR
from ..leases.held_leases import RENEWALS, Progress
from ..leases.single_flight import MAX_WAIT, SharedAnswer
from ..outcome import Call, Hit, Miss
from ..plan import Plan
from ..runs.current_run import CurrentRun, depend_on_hit, made_inside, running
from ..runs.hit_value import value_of
from ..runs.led_keys import leading, led_keys, waits_at_most
from ..runs.request_directives import NO_STORE, REFRESH, Mode
from .async_cache import AsyncCache

#: The site of calls by ``task.cache`` and of primitives.
DIRECT = "direct"

#: Runs a call.
Run = Callable[[], Awaitable[Any]]


class NeighbourPlans(Protocol):
    """Looks one call up among its neighbours (``Semantic``), and adds it to them."""

    @property
    def read_at(self) -> float:
        """When the entry of the answer was read (monotonic seconds)."""
        ...

    def find(self, call: Call, *, is_shadowed: bool = False) -> Plan[Hit | None]:
        """Find the neighbour that answers; one plan at a time."""
        ...

    def accepts(self, shared: SharedAnswer) -> bool:
        """Whether the neighbour that has answered an equal call answers this one."""
        ...

    def add(self, call: Call) -> Plan[None]:
        """Add the call, whose result was just stored."""
        ...


def _ignore(_call: Call, _hit: Hit) -> None:
    """Receive the hit that answers a call, and do nothing."""


@record(kw_only=True)
class Caller:
    """What goes with one call.

    Attributes:
        run: Runs the call.
        neighbours: Its neighbours; None without semantic keys.
        served: Receives the call and the hit that answers it.
    """

    run: Run
    neighbours: NeighbourPlans | None = None
    served: Callable[[Call, Hit], None] = _ignore


@record
class AsyncReadThrough:
    """Answers calls from the cache, or runs them.

    Attributes:
        cache: The cache.
        strict: Receives the reason when the store can't be read; raises, or lets the call run.
    """

    cache: AsyncCache
    strict: Callable[[str], None] = lambda _: None

    async def answer(
        self, call: Call, caller: Caller, *, mode: Mode = "use", shadow: bool = False
    ) -> Any:
        """Return the stored result of a call, or run it and store its result.

        Args:
            call: The call.
            caller: What goes with it.
            mode: What it asks of the cache.
            shadow: Whether the call is only looked up and counted, and runs anyway.

        Raises:
            Exception: The run's error, from this run or a remembered one.
            CacheMiss: The mode is ``"only"``, and no entry answers the call.
        """
        if mode in ("refresh", "bypass"):
            self.cache.engine.parts.observe(Lookup(call.task, call.key, DIRECT, None, mode))
            unanswered = self.refresh if mode == REFRESH else self._bypass
            return await unanswered(call, caller)
        if shadow:
            return await self._shadow(call, caller)
        if mode in ("only", NO_STORE):
            return await self._answer_unled(call, caller, mode)
        claim = Claim(owner=token_hex(16), stage=Stage.RUNNING, ttl=self.cache.leases.ttl)
        try:
            found = await self.cache.run(self._plan(call, claim, caller))
        except BaseException:  # the lease may have been granted
            if call.policy.coalesce:
                self.cache.leases.end(call.key, claim.owner)
            raise
        if isinstance(found, Hit):
            return await self._serve(call, found, caller)
        if found.position is None:
            self.strict(found.reason)
        if found.lease is not None and found.lease.is_ours:
            return await self._lead(call, found, caller, found.lease.owner)
        return await self._answer_unshared(call, found, caller)

    async def _answer_unshared(self, call: Call, missed: Miss, caller: Caller) -> Any:
        """Answer a call that missed while equal calls don't wait for one another."""
        near = await self._find_neighbour(call, missed, caller)
        if near is not None:
            return await self._serve(call, near, caller)
        return await self._run(call, missed.position, caller, "", reason=missed.reason)

    async def _answer_unled(self, call: Call, caller: Caller, mode: Mode) -> Any:
        """Answer a call whose run stores nothing that equal calls could wait for."""
        found = await self.cache.run(self.cache.engine.look(call, DIRECT))
        if isinstance(found, Miss):
            if found.position is None:
                self.strict(found.reason)
            near = await self._find_neighbour(call, found, caller)
            if near is None and mode == "only":
                raise CacheMiss(f"{call.task!r}: nothing to answer with ({found.reason})")
            if near is None:
                return await self._run(
                    call, found.position, caller, "", reason=found.reason, refused=NO_STORE
                )
            found = near
        return await self._serve(call, found, caller)

    async def _serve(self, call: Call, hit: Hit, caller: Caller) -> Any:
        """Return the value of a hit; have it refreshed or verified, if it is due."""
        depend_on_hit(call, hit, self.cache.engine.parts.log)
        if hit.refresh:
            self.cache.begin(self.refresh(call, caller), call.task)
        if call.verify and hit.can_be_verified:
            return await self._run_and_compare(call, hit, caller, VERIFY)
        caller.served(call, hit)
        return value_of(call.policy, hit)

    async def _find_neighbour(
        self, call: Call, missed: Miss, caller: Caller, *, is_shadowed: bool = False
    ) -> Hit | None:
        """Find the answer of a neighbour to a call that missed; None without one."""
        if caller.neighbours is None or missed.position is None:
            return None
        find = caller.neighbours.find(call, is_shadowed=is_shadowed)
        found: Hit | None = await self._safely(
            find,
            call,
            "semantic",
            is_urgent=False,  # what began with it follows it
        )
        return found

    async def run_apart(self, run: Run) -> Any:
        """Run a call that is not cached: it says nothing of the entry of the run around it."""
        current = CurrentRun(log=self.cache.engine.parts.log)
        with made_inside(current, None, None), running(current):
            value = await run()
        if value is NOT_MODIFIED:
            current.to_renew()
        return value

    async def _bypass(self, call: Call, caller: Caller) -> Any:
        started = monotonic()
        try:
            value = await self.run_apart(caller.run)
        except Exception:
            self._record_failure(call, monotonic() - started, "bypass")
            raise
        self._record_run(call, value, monotonic() - started, "bypass")
        return value

    async def refresh(self, call: Call, caller: Caller) -> Any:
        """Run a call and replace its entry."""
        position = await self.cache.run(self.cache.engine.writer.position(call))
        return await self._run(call, position, caller, "", replaces=True, reason=REFRESH)

    def _plan(self, call: Call, claim: Claim, caller: Caller) -> Plan[Hit | Miss]:
        engine = self.cache.engine
        patience = waits_at_most(call.key, led_keys(), MAX_WAIT)
        if not patience or not call.policy.coalesce:
            return engine.look(call, DIRECT)
        return self.cache.single_flight.lead_or_follow(
            engine,
            call,
            DIRECT,
            claim,
            patience=patience,
            accepts=caller.neighbours.accepts if caller.neighbours is not None else None,
        )

    async def _lead(self, call: Call, found: Miss, caller: Caller, owner: str) -> Any:
        """Run a call as leader; followers stop waiting when it ends, also by an error."""
        single_flight, leases = self.cache.single_flight, self.cache.leases
        wakeup = single_flight.begin(call.key)
        leases.hold(call.key, owner, _progress(), renew_in=leases.ttl / RENEWALS)
        wake = partial(single_flight.end, call.key, wakeup)
        value = None
        try:
            with leading(call.key, None):
                near = await self._find_neighbour(call, found, caller)
                if near is None:
                    value = await self._run(
                        call, found.position, caller, owner, reason=found.reason
                    )
        except BaseException as error:
            # When cancelled, the next follower leads: after the lease has ended.
            unshared = UNSHARED_FOR if isinstance(error, Exception) else 0.0
            leases.end(call.key, owner, unshared, wake)
            raise
        if near is None:
            leases.let_go(owner)
            wake()
            return value
        if caller.neighbours is not None:
            wakeup.answer = SharedAnswer(call, near, caller.neighbours.read_at)
        leases.end(call.key, owner, 0.0, wake)
        return await self._serve(call, near, caller)

    async def _run(
        self,
        call: Call,
        position: Position | None,
        caller: Caller,
        owner: str,
        *,
        replaces: bool = False,
        reason: str = "",
        refused: str = "",
    ) -> Any:
        current = CurrentRun(
            call.policy.depends, log=self.cache.engine.parts.log, position=position
        )
        is_replacing = replaces or reason in REPLACED
        if is_replacing and not refused:
            previous = await self._safely(
                self.cache.engine.reader.find_previous(call), call, "previous"
            )
            current.find_previous = lambda: previous
        with made_inside(current, call, position):
            return await self._run_as(
                current,
                call,
                position,
                caller,
                owner,
                replaces=replaces or call.max_age is not None,
                is_new=not is_replacing,
                reason=reason,
                refused=refused,
            )

    async def _run_as(
        self,
        current: CurrentRun,
        call: Call,
        position: Position | None,
        caller: Caller,
        owner: str,
        *,
        replaces: bool,
        is_new: bool,
        reason: str,
        refused: str,
    ) -> Any:
        """Run a call and store its result; what is said inside is known of the current run."""
        renews = None
        started = monotonic()
        try:
            with running(current):
                value = await caller.run()
            if value is NOT_MODIFIED:
                renews = current.to_renew()
                value = renews.value
        except Exception as error:
            seconds = monotonic() - started
            recover = self._recover(call, position, error, seconds, owner, decided=current)
            instead = await self._safely(recover, call, "recover")
            if instead is None:
                self._record_failure(call, seconds, reason)
                raise
            depend_on_hit(call, instead, current.log)
            return value_of(call.policy, instead)
        seconds = monotonic() - started
        cost = self._record_run(call, value, seconds, reason, current.cost)
        fill = self.cache.engine.writer.fill(
            call,
            position,
            value,
            run_seconds=seconds,
            task_id=None,
            cost=cost,
            owner=owner,
            replaces=replaces,
            decided=current,
            renews=renews,
        )
        if not refused and is_new and renews is None and seconds < call.policy.min_run:
            refused = "min-run"
        if refused:
            fill = self.cache.engine.writer.refuse(call, owner, refused, seconds)
        is_stored = await self._safely(fill, call, "fill")
        if is_stored and caller.neighbours is not None:
            await self._safely(caller.neighbours.add(call), call, "semantic")
        return value

    async def _safely(
        self, plan: Plan[Any], call: Call, operation: str, *, is_urgent: bool = True
    ) -> Any:
        """Run a plan after a call's run; its faults never fail the call (promise F1)."""
        try:
            return await self.cache.run(plan, is_urgent=is_urgent)
        except Exception as error:  # noqa: BLE001 - a fault of ours never fails a call
            self.cache.engine.parts.observe(Fault(call.task, operation, error))
            return None

    def _record_run(
        self, call: Call, value: Any, seconds: float, reason: str, decided: float | None = None
    ) -> float:
        observe, cost = self.cache.engine.parts.observe, decided or 0.0
        try:
            if decided is None:
                cost = call.policy.cost_of(value)
        except Exception as error:  # noqa: BLE001 - the user's function; the call has run
            observe(Fault(call.task, "cost", error))
        is_none = value is None
        observe(Ran(call.task, call.key, seconds, cost, returned_none=is_none, reason=reason))
        return cost

    def _record_failure(self, call: Call, seconds: float, reason: str) -> None:
        observe = self.cache.engine.parts.observe
        observe(NoResult(call.task, call.key, "failed", seconds, reason))

    def _recover(
        self,
        call: Call,
        position: Position | None,
        error: Exception,
        seconds: float,
        owner: str,
        *,
        decided: CurrentRun,
    ) -> Plan[Hit | None]:
        """Store a failure, or find the stale result for it; else let equal calls run unshared."""
        engine = self.cache.engine
        remember_for = call.policy.remembered_for(error)
        if remember_for is not None:
            try:
                text = encode_error(error, call.policy)
            except UnserializableResult:
                yield from engine.writer.refuse(call, owner, "unserializable", seconds)
                return None
            yield from engine.writer.fill(
                call,
                position,
                text,
                run_seconds=seconds,
                task_id=None,
                owner=owner,
                remember_for=remember_for,
                decided=decided,
            )
            return None
        if call.policy.stale_if_error:
            stale = yield from engine.refresher.find_stale_if_error(call, DIRECT, owner)
            if stale is not None:
                return stale
        yield from engine.writer.end_unshared(call, owner, seconds)
        return None

    async def _shadow(self, call: Call, caller: Caller) -> Any:
        engine = self.cache.engine
        started = monotonic()
        found = await self.cache.run(engine.reader.find(call))
        if isinstance(found, Miss):
            near = await self._find_neighbour(call, found, caller, is_shadowed=True)
            if near is not None:
                bare = replace(call, verify=False)
                return await self._run_and_compare(bare, near, caller, SHADOW)
            engine.parts.observe(Shadowed(call.task, call.key, False))
            return await self._run(call, found.position, caller, "", reason=SHADOW)
        saved = max(0.0, found.entry.run_seconds - (monotonic() - started))
        engine.parts.observe(Shadowed(call.task, call.key, True, saved, found.entry.cost))
        return await self._run_and_compare(replace(call, verify=False), found, caller, SHADOW)

    async def _run_and_compare(self, call: Call, stored: Hit, caller: Caller, reason: str) -> Any:
        observe = self.cache.engine.parts.observe
        current = CurrentRun(
            call.policy.depends, log=self.cache.engine.parts.log, position=stored.as_of
        )
        started = monotonic()
        try:
            with made_inside(current, call, None), running(current):
                value = await caller.run()
        except Exception:
            if reason != VERIFY:
                self._record_failure(call, monotonic() - started, reason)
                raise
            observe(Verified(call.task, call.key, "failed"))
            return value_of(call.policy, stored)
        self._record_run(call, value, monotonic() - started, reason)
        if stored.can_be_verified:
            verified = await self._safely(
                compare(self.cache.engine, call, stored, value), call, VERIFY
            )
            if verified is not None:
                observe(verified)
        return value


def _progress() -> Progress:
    """Return the stage of the running asyncio task; none when it, or its loop, is over."""
    leader, loop = asyncio.current_task(), asyncio.get_running_loop()

    def stage() -> Stage | None:
        is_running = leader is not None and not leader.done() and loop.is_running()
        return Stage.RUNNING if is_running else None

    return stage
