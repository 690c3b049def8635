"""Answering a batch: its items' stored results, and those of a run for the items without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any
from uuid import uuid4

from ...cache.batch_call import owner_of
from ...cache.engine.lookup_record import SHADOW
from ...cache.engine.writer import UNSHARED_FOR
from ...cache.leases.held_leases import RENEWALS
from ...cache.leases.single_flight import MAX_WAIT, PATIENCE, LockWakeup, Pauses
from ...cache.outcome import Miss
from ...cache.plan import Pause, Plan
from ...cache.runs.led_keys import leading, led_keys, of_batches, waits_at_most
from ...core.entries.lease import Claim, Stage, waits
from ...errors import CacheMiss
from ..calls.call_request import CallRequest
from ..calls.context import led_by_callers
from ..calls.lookup_handoff import OVERTAKEN_AT
from ..calls.lookup_result import LookupResult
from ..lookup.read_through import Computation
from .item_lookup import (
    FoundItems,
    answer_of,
    look_up_items,
    may_claim,
    record_items,
    record_unkeyed,
)
from .item_run import BatchRun

Record = Callable[[LookupResult], None]


def answer_batch_in_pool(
    batch_run: BatchRun, token: str, outer: Sequence[str], record: Record
) -> Any:
    """Answer a batch where it holds a slot of the pool: it waits for nobody.

    Args:
        batch_run: The batch.
        token: That of the leases which the worker's main process holds for it; empty for none.
        outer: The led keys of its message.
        record: Receives the lookup, before the body runs.
    """
    call_request = batch_run.call_request
    if call_request.batch is None:
        record_unkeyed(call_request, batch_run.site)
        return batch_run.run_unkeyed()
    numbers = range(len(call_request.batch.calls))
    claims: list[Claim | None] = [None] * len(numbers)
    if token and may_claim(call_request, batch_run.site):
        claims = [_claim(call_request, token, number) for number in numbers]
    found = look_up_items(call_request, batch_run.site, numbers, claims)
    record_items(call_request, found, batch_run.site, are_answers=True)
    record(answer_of(call_request, found))
    values = {number: hit.value for number, hit in found.hits.items()}
    misses = _to_run(call_request, found)
    if misses:
        with leading(of_batches(call_request.task.name), batch_run.task_id, outer):
            values |= batch_run.run(misses, _owners(misses), found.misses.__contains__)
    return call_request.batch.in_order(values)


def read_batch_through(batch_run: BatchRun, record: Record = lambda _: None) -> Any:
    """Answer a batch in its caller's own thread: what is in flight elsewhere is waited for.

    It runs what it leads before it waits for what others lead.

    Args:
        batch_run: The batch.
        record: Receives the first lookup, before the body runs.

    Raises:
        CacheMiss: The mode is ``"only"``, and an item has no entry.
    """
    call_request = batch_run.call_request
    if call_request.batch is None:
        record_unkeyed(call_request, batch_run.site)
        record(LookupResult(None, reason="uncacheable"))
        if call_request.mode == "only":
            raise CacheMiss(f"task {call_request.task.name!r}: nothing to answer with")
        return batch_run.run_unkeyed()
    return _BatchInThread(batch_run, record).answer()


class _BatchInThread:
    """A batch in its caller's thread.

    Args:
        batch_run: The batch.
        record: Receives the first lookup.
    """

    def __init__(self, batch_run: BatchRun, record: Record) -> None:
        self._batch_run, self._record = batch_run, record
        self._call_request = batch_run.call_request
        self._batch = batch_run.call_request.identified_batch()
        self._token = uuid4().hex
        self._values: dict[int, Any] = {}
        self._asked_at = monotonic()
        #: The item that is waited for, and the pauses.
        self._pauses: tuple[int, Pauses] | None = None
        led = led_keys(led_by_callers())
        name = of_batches(self._call_request.task.name)
        claims = may_claim(self._call_request, batch_run.site) and name not in led
        self._patience = waits_at_most(name, led, MAX_WAIT) if claims else 0.0

    def answer(self) -> list[Any]:
        """Return the results in the order asked for.

        Raises:
            CacheMiss: As ``read_batch_through``.
        """
        left: Sequence[int] = range(len(self._batch.calls))
        waited = None
        try:
            while left := self._step(left, waited):
                waited = self._wait_for(left[0])
        finally:
            if self._pauses is not None:
                self._pauses[1].end()
        return self._batch.in_order(self._values)

    def _step(self, numbers: Sequence[int], waited: float | None) -> list[int]:
        """Look for items, and run those that nobody else does; return those to wait for."""
        call_request, site = self._call_request, self._batch_run.site
        with self._ending_leases(numbers):
            found = look_up_items(call_request, site, numbers, self._claims(numbers, waited))
            followed = {n: miss for n, miss in found.misses.items() if self._waits(miss, waited)}
            for number in followed:
                del found.misses[number]
            record_items(call_request, found, site, are_answers=True, waited=waited)
            if waited is None:
                self._record(self._first_lookup(found, followed))
            self._values |= {number: hit.value for number, hit in found.hits.items()}
            misses = _to_run(call_request, found)
        if call_request.mode == "only" and misses:
            raise CacheMiss(_missing(call_request, len(misses)))
        if misses:
            self._lead(misses, found)
        return list(followed)

    def _first_lookup(self, found: FoundItems, followed: Mapping[int, Miss]) -> LookupResult:
        if followed:
            return LookupResult(None, reason="following")
        return answer_of(self._call_request, found)

    def _claims(self, numbers: Sequence[int], waited: float | None) -> list[Claim | None]:
        if not self._patience:
            return [None] * len(numbers)
        takes_queued = waited is not None and waited >= PATIENCE
        return [
            _claim(self._call_request, self._token, n, takes_queued=takes_queued) for n in numbers
        ]

    def _waits(self, miss: Miss, waited: float | None) -> bool:
        return waits(
            miss.lease,
            waited=waited or 0.0,
            patience=self._patience,
            queued_patience=PATIENCE,
        )

    @contextmanager
    def _ending_leases(self, numbers: Sequence[int]) -> Iterator[None]:
        """End the leases of items if anything strikes inside: they may have been given."""
        try:
            yield
        except BaseException:
            calls = self._batch.calls
            leases = [(calls[n].key, owner_of(self._token, n)) for n in numbers]
            self._call_request.runtime.leases.end_all(leases)
            raise

    def _lead(self, misses: Mapping[int, Miss], found: FoundItems) -> None:
        """Run items while equal calls wait; these wait no longer, however the run ends."""
        runtime, call_request = self._call_request.runtime, self._call_request
        owners = _owners(misses)
        led = [(self._batch.calls[number].key, owner) for number, owner in owners.items()]
        computation = Computation()
        wakeups: dict[str, LockWakeup] = {}
        returned = False
        try:
            wakeups = {key: runtime.single_flight.begin(key) for key, _ in led}
            renew_in = runtime.leases.ttl / RENEWALS
            runtime.leases.hold_all(led, computation.progress(), renew_in=renew_in)
            with leading(of_batches(call_request.task.name), self._batch_run.task_id):
                values = self._batch_run.run(misses, owners, found.misses.__contains__)
            self._values |= values
            returned = True
        finally:
            if returned:
                runtime.leases.let_go(*owners.values())
            else:
                runtime.leases.end_all(led, UNSHARED_FOR)
            for key, wakeup in wakeups.items():
                runtime.single_flight.end(key, wakeup)

    def _wait_for(self, number: int) -> float:
        """Wait a while for an item that another call leads; return the seconds waited so far."""
        runtime, key = self._call_request.runtime, self._batch.calls[number].key
        if self._pauses is None or self._pauses[0] != number:
            if self._pauses is not None:
                self._pauses[1].end()
            self._pauses = number, Pauses(runtime.single_flight, key)
        runtime.run(_pause(self._pauses[1].next()))
        return monotonic() - self._asked_at


def _pause(pause: Pause) -> Plan[None]:
    yield pause


def _claim(
    call_request: CallRequest, token: str, number: int, *, takes_queued: bool = False
) -> Claim:
    return Claim(
        owner=owner_of(token, number),
        stage=Stage.RUNNING,
        ttl=call_request.runtime.leases.ttl,
        overtakes=OVERTAKEN_AT,
        takes_queued=takes_queued,
    )


def _to_run(call_request: CallRequest, found: FoundItems) -> dict[int, Miss]:
    """Return the misses of the items that run: in shadow mode, all do."""
    if not call_request.is_shadowed:
        return found.misses
    return dict.fromkeys(found.hits, Miss(SHADOW, None)) | found.misses


def _owners(misses: Mapping[int, Miss]) -> dict[int, str]:
    """Return the owners of the leases that were given, by the items' numbers."""
    leases = {number: miss.lease for number, miss in misses.items()}
    return {n: lease.owner for n, lease in leases.items() if lease is not None and lease.is_ours}


def _missing(call_request: CallRequest, count: int) -> str:
    total = len(call_request.identified_batch().calls)
    return f"task {call_request.task.name!r}: {count:,} of {total:,} items aren't stored"
