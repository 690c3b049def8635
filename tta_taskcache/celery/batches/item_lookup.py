"""The lookup of a batch's items, for the three sites and ``task.cache``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.batch_call import look_each, one_hit
from ...cache.engine.lookup_record import SHADOW, record_found, record_lookup
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.runs.current_run import current_run, depend_on_hit
from ...cache.runs.request_directives import REFRESH
from ...core.entries.lease import Claim
from ...core.events import Fault, Lookup, Shadowed
from ...core.options.option_values import Site
from ..calls.call_request import CallRequest
from ..calls.lookup_result import DIRECT, NEVER_LEADS, LookupResult
from ..lookup.background_refresh import schedule_refresh
from ..lookup.lookup import unanswerable

#: Runs plans against the store.
RunPlan = Callable[[Plan[Any]], Any]


@dataclass(slots=True)
class FoundItems:
    """What was found of a batch's items, by their numbers.

    Attributes:
        hits: The hits.
        misses: The misses.
        seconds: Seconds that the look took; each item's share.
    """

    hits: dict[int, Hit] = field(default_factory=dict)
    misses: dict[int, Miss] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def reason(self) -> str:
        """The word for the whole batch: that of the misses, or that some were hits."""
        if self.hits and self.misses:
            return "partial"
        return next((miss.reason for miss in self.misses.values()), "")


def look_up_items(
    call_request: CallRequest,
    site: Site | None,
    numbers: Sequence[int],
    claims: Sequence[Claim | None],
    run: RunPlan | None = None,
) -> FoundItems:
    """Look for the results of a batch's items. Faults of the cache become misses.

    Stale ones are refreshed in the background. Nothing is recorded.

    Args:
        call_request: The batch, whose items have keys.
        site: The site; None for ``task.cache``.
        numbers: The numbers of the items to look for.
        claims: The claim of each; None for none.
        run: Runs the plan; None for the runtime.
    """
    runtime = call_request.runtime
    all_calls = call_request.identified_batch().calls
    calls = [all_calls[number] for number in numbers]
    reason, started = unanswerable(call_request, site), monotonic()
    try:
        if reason == SHADOW:
            find = runtime.engine.reader.find_many(calls, [None] * len(calls))
            outcomes = runtime.run(find) if _runs_here(site) else [Miss(SHADOW, None)] * len(calls)
        elif reason:
            outcomes = _unanswered(call_request, calls, site, reason)
        else:
            outcomes = (run or runtime.run)(look_each(runtime.engine, calls, claims))
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(call_request.task.name, "look", error))
        outcomes = [Miss("fault", None)] * len(calls)
    found = FoundItems(seconds=(monotonic() - started) / max(1, len(calls)))
    for number, outcome in zip(numbers, outcomes, strict=True):
        if isinstance(outcome, Hit):
            found.hits[number] = outcome
        else:
            found.misses[number] = outcome
    _schedule_refreshes(call_request, found.hits)
    return found


def _runs_here(site: Site | None) -> bool:
    """Whether a call runs at a site that doesn't answer it."""
    return site in (Site.POOL, None)


def look_up_batch(call_request: CallRequest, site: Site) -> LookupResult:
    """Look for the answer to a batch at a site that runs nothing: a hit if all items are.

    Args:
        call_request: The batch, whose items have keys.
        site: The site.
    """
    numbers = range(len(call_request.identified_batch().calls))
    found = look_up_items(call_request, site, numbers, [None] * len(numbers))
    record_items(call_request, found, site, are_answers=not found.misses)
    return answer_of(call_request, found)


def may_claim(call_request: CallRequest, site: Site | None) -> bool:
    """Whether the items that aren't found are led, while equal ones wait."""
    if unanswerable(call_request, site) or call_request.mode in NEVER_LEADS:
        return False
    return call_request.policy.coalesce


def _unanswered(
    call_request: CallRequest, calls: Sequence[Call], site: Site | None, reason: str
) -> list[Hit | Miss]:
    """Return misses for items that run unanswered, with the log's position to store them with."""
    is_last = site is Site.POOL or (site is None and reason == REFRESH)
    runtime = call_request.runtime
    if not is_last or not calls:
        return [Miss(reason, None)] * len(calls)
    if call_request.mode == "revalidate":
        return [
            # An entry that is refreshed early is still fresh: only a newer one is good enough.
            found if isinstance(found, Hit) and found.needs_no_refresh else _as_miss(found, reason)
            for found in runtime.run(runtime.engine.reader.find_many(calls, [None] * len(calls)))
        ]
    position = runtime.run(runtime.engine.writer.position(calls[0]))
    return [Miss(reason, position)] * len(calls)


def _as_miss(found: Hit | Miss, reason: str) -> Miss:
    return Miss(reason, found.as_of if isinstance(found, Hit) else found.position)


def _schedule_refreshes(call_request: CallRequest, hits: Mapping[int, Hit]) -> None:
    """Send one message that refreshes all items for which this look is to have it done."""
    due = [number for number, hit in hits.items() if hit.refresh]
    if due:
        items = call_request.items
        call = call_request.identified_batch().calls[due[0]]
        schedule_refresh(call_request.of_items([items[number] for number in due]), call)


def record_items(
    call_request: CallRequest,
    found: FoundItems,
    site: Site | None,
    *,
    are_answers: bool,
    waited: float | None = None,
) -> None:
    """Tell observers of each item's lookup, and the run that looks what goes into its result (D1).

    Args:
        call_request: The batch.
        found: What was found.
        site: The site that looked.
        are_answers: Whether the hits are used here; else the next site looks again, and counts.
        waited: Seconds that the batch has waited for these items; None if it hasn't.
    """
    runtime, where = call_request.runtime, site or DIRECT
    calls, log = call_request.identified_batch().calls, runtime.engine.parts.log
    if unanswerable(call_request, site) == SHADOW:
        _record_shadow(call_request, found, site)
        return
    outer = current_run()
    outcomes: dict[int, Hit | Miss] = {**(found.hits if are_answers else {}), **found.misses}
    for number, outcome in outcomes.items():
        call = calls[number]
        if waited is not None and isinstance(outcome, Hit):
            record_lookup(runtime.observe, call, where, outcome, waited=waited)
        else:
            record_found(runtime.engine.parts, call, where, outcome, found.seconds)
        if outer is not None and isinstance(outcome, Hit):
            depend_on_hit(call, outcome, log)
    if outer is not None and not are_answers and outer.is_of_same_log(log):
        for call in calls:  # the message's answer comes from a run that begins later
            outer.depend_on_message(call)


def _record_shadow(call_request: CallRequest, found: FoundItems, site: Site | None) -> None:
    if not _runs_here(site):
        return  # each is counted once, where it runs
    calls, observe = call_request.identified_batch().calls, call_request.runtime.observe
    for number, hit in found.hits.items():
        saved = max(0.0, hit.entry.run_seconds - found.seconds)
        observe(Shadowed(calls[number].task, calls[number].key, True, saved, hit.entry.cost))
    for number in found.misses:
        observe(Shadowed(calls[number].task, calls[number].key, False))


def record_unkeyed(call_request: CallRequest, site: Site | None) -> None:
    """Tell observers of a batch whose items have no keys."""
    reason = unanswerable(call_request, site) or "uncacheable"
    task = call_request.task.name
    call_request.runtime.observe(Lookup(task, None, site or DIRECT, None, reason))


def answer_of(call_request: CallRequest, found: FoundItems) -> LookupResult:
    """Return the lookup of a whole batch: a hit if all of its items are."""
    if found.misses:
        return LookupResult(None, reason=found.reason)
    batch = call_request.identified_batch()
    value = batch.in_order({number: hit.value for number, hit in found.hits.items()})
    hit = one_hit(call_request.task.name, list(found.hits.values()), value)
    return LookupResult(None, hit=hit)
