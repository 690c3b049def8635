"""Running a task's body with some items of a batch, and storing what it returns for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.runs.current_run import (
    CurrentRun,
    current_run,
    depend_on_hit,
    made_inside,
    running,
)
from ...cache.runs.request_directives import NO_STORE, REFRESH
from ...cache.side_by_side import side_by_side
from ...core.arguments.batch_items import read_results
from ...core.entries.decide import Verdict
from ...core.events import Fault
from ...core.options.option_values import Site
from ...core.record import record
from ...errors import UncacheableCall, WrongArguments
from ..calls.call_request import CallRequest
from ..calls.lookup_result import DIRECT, LookupResult
from ..lookup import verification
from ..lookup.lookup import unanswerable
from ..lookup.run_and_store import REPLACING, pause_of
from ..lookup.verification import WITHOUT_RESULT

#: Runs the body with positional and keyword arguments.
Body = Callable[[Sequence[Any], Mapping[str, Any]], Any]


@record(kw_only=True)
class BatchRun:
    """What runs for a batch, and where.

    Attributes:
        call_request: The batch.
        body: The task's body.
        args: Positional arguments, as the body gets them.
        kwargs: Keyword arguments, likewise.
        site: The site; None for ``task.cache``.
        task_id: Id of the task that runs; None for ``task.cache``.
        refused: Returns, after a run, the reason not to store its results; empty for none.
    """

    call_request: CallRequest
    body: Body
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    site: Site | None
    task_id: str | None
    refused: Callable[[], str] = lambda: ""

    def run_unkeyed(self) -> Any:
        """Run the body with the whole list, which has no keys; return the results in order.

        Raises:
            BatchResultError: There isn't a result for each item.
        """
        call_request, current = self.call_request, self._begin()
        with made_inside(current, None, None):
            started = monotonic()
            with running(current):
                returned = self.body(self.args, self.kwargs)
            seconds = monotonic() - started
        lookup = LookupResult(None)
        verification.record_run(call_request, lookup, returned, seconds, current.cost)
        try:
            items = call_request.keyer.items(self.args, self.kwargs)
        except WrongArguments:  # it was no list, and the body has taken it
            return returned
        return read_results(call_request.task.name, items, returned)

    def run(
        self,
        misses: Mapping[int, Miss],
        owners: Mapping[int, str],
        stored: Callable[[int], bool] = lambda _: True,
    ) -> dict[int, Any]:
        """Run the body with items, and store the result of each.

        Where it fails, the last good results stand in, if there is one for each item that ran
        (``cache_stale_if_error``).

        Args:
            misses: The items' misses, by their numbers.
            owners: The owners of the leases that it leads with, likewise.
            stored: Whether the result of an item is to be stored.

        Returns:
            The results by the items' numbers.

        Raises:
            BatchResultError: There isn't a result for each item.
        """
        calls, current = self._calls(list(misses)), self._begin()
        try:
            return self._run_as(current, calls, misses, owners, stored)
        finally:
            if (outer := current_run()) is not None:
                for number, call in calls.items():
                    outer.depend_on_run(call, misses[number].position, current)

    def _begin(self) -> CurrentRun:
        """Return the run that begins: it has no previous entry, being of many."""
        policy, parts = self.call_request.policy, self.call_request.runtime.engine.parts
        return CurrentRun(policy.depends, log=parts.log)

    def _run_as(
        self,
        current: CurrentRun,
        calls: Mapping[int, Call],
        misses: Mapping[int, Miss],
        owners: Mapping[int, str],
        stored: Callable[[int], bool],
    ) -> dict[int, Any]:
        """Do as ``run``; what is said inside is known of the current run."""
        call_request, items = self.call_request, self._items(list(misses))
        lookup = LookupResult(None, reason=next((m.reason for m in misses.values()), ""))
        started = monotonic()
        try:
            args, kwargs = call_request.keyer.with_items(self.args, self.kwargs, list(items))
            with running(current):
                returned = self.body(args, kwargs)
            results = read_results(call_request.task.name, items, returned)
        except WITHOUT_RESULT as end:
            verification.record_no_result(call_request, lookup, end, monotonic() - started)
            self._end_unshared(calls, owners, monotonic() - started, pause_of(end))
            raise
        except Exception as error:
            stale = self._stand_ins(calls, misses, owners)
            if stale is None:
                verification.record_no_result(call_request, lookup, error, monotonic() - started)
                self._end_unshared(calls, owners, monotonic() - started)
                raise
            for number, hit in stale.items():
                depend_on_hit(calls[number], hit, current.log)
            return {number: hit.value for number, hit in stale.items()}
        seconds = monotonic() - started
        cost = verification.record_run(call_request, lookup, returned, seconds, current.cost)
        values = dict(zip(misses, results, strict=True))
        kept = {number: call for number, call in calls.items() if stored(number)}
        self._store(kept, misses, values, owners, seconds=seconds, cost=cost, decided=current)
        return values

    def _items(self, numbers: Sequence[int]) -> list[Any]:
        """Return items as the body gets them."""
        items = self.call_request.keyer.items(self.args, self.kwargs)
        firsts = self.call_request.identified_batch().firsts
        return [items[firsts[number]] for number in numbers]

    def _calls(self, numbers: Sequence[int]) -> dict[int, Call]:
        """Return items' calls by their numbers, with traits: the run may change its arguments."""
        call_request, calls = self.call_request, self.call_request.identified_batch().calls
        items = call_request.items
        found = {number: calls[number] for number in numbers}
        for number, call in found.items():
            try:
                found[number] = call_request.of_item(items[number], call).with_traits(call)
            except UncacheableCall:  # an argument has changed since it was looked up
                break
        return found

    def _store(
        self,
        calls: Mapping[int, Call],
        misses: Mapping[int, Miss],
        values: Mapping[int, Any],
        owners: Mapping[int, str],
        *,
        seconds: float,
        cost: float,
        decided: CurrentRun,
    ) -> None:
        """Store results, each with its share of the run. Raises no fault of the cache."""
        runtime, writer = self.call_request.runtime, self.call_request.runtime.engine.writer
        share, refused = 1.0 / max(1, len(values)), self.refused()
        fills: list[Plan[bool]] = []
        try:
            for n, call in calls.items():
                if reason := refused or self._refusal(misses[n], seconds):
                    fills.append(writer.refuse(call, owners.get(n, ""), reason, seconds))
                    continue
                fills.append(
                    writer.fill(
                        call,
                        misses[n].position,
                        values[n],
                        run_seconds=seconds * share,
                        task_id=self.task_id,
                        cost=cost * share,
                        owner=owners.get(n, ""),
                        replaces=misses[n].reason == REFRESH or call.max_age is not None,
                        decided=replace(decided),  # an item's result may decide for it
                    )
                )
            runtime.run(side_by_side(fills))
        except SoftTimeLimitExceeded:
            raise  # the task's own limit: it fails as it would have (promise F8)
        except Exception as error:  # noqa: BLE001 - the task has run (promise F1)
            runtime.observe(Fault(self.call_request.task.name, "fill", error))

    def _refusal(self, miss: Miss, seconds: float) -> str:
        """Return the reason why neither caller nor policy has a result stored; empty for none."""
        if self.call_request.mode == NO_STORE:
            return NO_STORE
        is_new = miss.reason not in REPLACING
        return "min-run" if is_new and seconds < self.call_request.policy.min_run else ""

    def _end_unshared(
        self,
        calls: Mapping[int, Call],
        owners: Mapping[int, str],
        seconds: float,
        pause: float = 0.0,
    ) -> None:
        """Let equal calls run side by side: this run leaves no results to share (C6)."""
        runtime = self.call_request.runtime
        end = runtime.engine.writer.end_unshared
        try:
            ends = [end(calls[n], owner, seconds, pause) for n, owner in owners.items()]
            runtime.run(side_by_side(ends))
        except SoftTimeLimitExceeded:
            raise
        except Exception as fault:  # noqa: BLE001 - the task's own end is what counts (promise F1)
            runtime.observe(Fault(self.call_request.task.name, "release", fault))

    def _stand_ins(
        self, calls: Mapping[int, Call], misses: Mapping[int, Miss], owners: Mapping[int, str]
    ) -> dict[int, Hit] | None:
        """Find the stale results that stand in for a failed run; None unless each item has one."""
        call_request = self.call_request
        runtime, policy = call_request.runtime, call_request.policy
        may_be = policy.stale_if_error or all(m.reason == Verdict.ENDED for m in misses.values())
        if not may_be or call_request.mode != "use" or unanswerable(call_request, None):
            return None
        refresher = runtime.engine.refresher
        try:
            plans = [refresher.stand_in(call, owners.get(n, "")) for n, call in calls.items()]
            found: list[Hit | None] = runtime.run(side_by_side(plans))
        except SoftTimeLimitExceeded:
            raise
        except Exception as fault:  # noqa: BLE001 - likewise
            runtime.observe(Fault(call_request.task.name, "recover", fault))
            return None
        hits = {n: hit for n, hit in zip(calls, found, strict=True) if hit is not None}
        if len(hits) < len(calls):
            return None
        for n, hit in hits.items():
            refresher.record_stand_in(calls[n], self.site or DIRECT, hit)
        return hits
