"""Neighbours of a call that missed: finding one that answers, and adding a call to the index.

A text is embedded once for a call: at the first site that looks, or else where the call runs. The
consumer site embeds nothing: a worker's main process has other work to do.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from time import monotonic

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.engine.lookup_record import VERIFY, record_lookup
from ...cache.outcome import Call
from ...core.events import Compared, Embedded, Fault, Shadowed
from ...core.options.option_values import Site
from ...core.semantic.partition import SemanticCall
from ...core.semantic.semantic_policy import Semantic, read_threshold
from ...errors import StoreUnavailable, UncacheableCall
from ...semantic.embedding import embed
from ...semantic.neighbours import NeighbourSearch, SemanticQuery
from ..calls.call_request import CallRequest
from ..calls.carried_text import CarriedText
from ..calls.lookup_result import DIRECT, LookupResult


def with_neighbour(
    call_request: CallRequest,
    lookup: LookupResult,
    site: Site | None,
    carried: CarriedText,
    *,
    is_answerable: bool,
    is_handed_off: bool,
) -> LookupResult:
    """Return the lookup of a call, answered by a neighbour if there was no entry. Raises no fault.

    Args:
        call_request: The call.
        lookup: What was found under its exact key.
        site: The site; None for ``task.cache``.
        carried: What came with the call.
        is_answerable: Whether an entry may answer the call here.
        is_handed_off: Whether the site before has looked under the exact key, just now.
    """
    semantic, call = call_request.policy.semantic, lookup.call
    if semantic is None or call is None or lookup.hit is not None or lookup.instead is not None:
        return lookup
    lookup = replace(lookup, vector=carried.vector or lookup.vector)
    has_looked = is_handed_off and carried.vector is not None
    is_blind = site is Site.CONSUMER and lookup.vector is None
    is_shadow = call_request.is_shadowed and site in (Site.POOL, None)
    if has_looked or is_blind or not (is_answerable or is_shadow):
        return lookup
    started = monotonic()
    try:
        threshold = read_threshold(carried.asked, semantic.threshold)
        about = None if threshold is None else semantic_call(call_request)
        if threshold is None or about is None:
            return lookup
        if lookup.vector is None:
            vector = embed_text(call_request, semantic, about.text)
            lookup = replace(lookup, vector=vector)
        query = SemanticQuery(
            call=call, about=about, vector=lookup.vector or b"", threshold=threshold
        )
        return _find(call_request, lookup, query, site, monotonic() - started)
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        call_request.runtime.observe(Fault(call_request.task.name, "semantic", error))
        return lookup


def _find(
    call_request: CallRequest,
    lookup: LookupResult,
    query: SemanticQuery,
    site: Site | None,
    embedding: float,
) -> LookupResult:
    """Find the neighbour that answers.

    Args:
        call_request: The call.
        lookup: What was found under its exact key.
        query: What it is compared by.
        site: The site.
        embedding: Seconds that its embedding took.
    """
    runtime, call, where = call_request.runtime, query.call, site or DIRECT
    started = monotonic() - embedding
    found: NeighbourSearch = runtime.run(runtime.neighbours.find(query))
    nearest = found.judged[-1] if found.hit else next(iter(found.judged), None)
    if nearest is not None:
        outcome = nearest.reason or ("shadow" if call_request.is_shadowed else "hit")
        event = Compared(call.task, call.key, where, nearest.similarity, outcome, nearest.key)
        runtime.observe(event)
    if found.hit is None:
        return lookup
    seconds = monotonic() - started
    if lookup.owner:  # the call doesn't run: others needn't wait for it
        with suppress(StoreUnavailable):
            runtime.run(runtime.engine.release(call.key, lookup.owner))
    if call_request.is_shadowed:
        saved = max(0.0, found.hit.entry.run_seconds - seconds)
        runtime.observe(Shadowed(call.task, call.key, True, saved, found.hit.entry.cost))
        return LookupResult(call, instead=found.hit, reason=lookup.reason, vector=lookup.vector)
    wanted = replace(call, verify=call_request.is_verified)
    record_lookup(runtime.observe, wanted, where, found.hit, seconds=seconds)
    if wanted.verify and found.hit.can_be_verified:
        return LookupResult(call, instead=found.hit, reason=VERIFY, vector=lookup.vector)
    return LookupResult(call, hit=found.hit, seconds=seconds, vector=lookup.vector)


def semantic_call(call_request: CallRequest) -> SemanticCall | None:
    """Return what a call is compared by; None when it has only its exact key."""
    secret = call_request.runtime.engine.parts.secret
    try:
        return call_request.keyer.semantic_call(
            call_request.args, call_request.kwargs, call_request.context, secret, call_request.form
        )
    except UncacheableCall:  # an argument has changed since it was looked up
        return None


def embed_text(call_request: CallRequest, semantic: Semantic, text: str) -> bytes:
    """Embed a text, and tell the observers.

    Raises:
        Exception: The embedder's own.
    """
    started = monotonic()
    (vector,) = embed(semantic, [text])
    name, seconds = call_request.task.name, monotonic() - started
    call_request.runtime.observe(Embedded(name, 1, seconds, semantic.cost))
    return vector


def explain_neighbours(call_request: CallRequest, call: Call) -> NeighbourSearch:
    """Judge the nearest calls of one that missed, however far they are. Raises no fault."""
    semantic, about = call.policy.semantic, semantic_call(call_request)
    if semantic is None or about is None:
        return NeighbourSearch()
    try:
        (vector,) = embed(semantic, [about.text])
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - the embedder's; the rest is explained all the same
        call_request.runtime.observe(Fault(call.task, "semantic", error))
        return NeighbourSearch()
    query = SemanticQuery(call=call, about=about, vector=vector, threshold=semantic.threshold)
    return call_request.runtime.run(call_request.runtime.neighbours.find(query, floor=0.0))


def add_neighbour(
    call_request: CallRequest, lookup: LookupResult, about: SemanticCall | None
) -> None:
    """Add a call whose result was just stored to the index. Raises no fault.

    Args:
        call_request: The call.
        lookup: The result of its lookup before the run.
        about: What it is compared by, from before the run, which may change its arguments.
    """
    semantic, call = call_request.policy.semantic, lookup.call
    if semantic is None or call is None or about is None:
        return
    runtime = call_request.runtime
    try:
        vector = lookup.vector or embed_text(call_request, semantic, about.text)
        query = SemanticQuery(call=call, about=about, vector=vector, threshold=semantic.threshold)
        lifetime = call.policy.ttl + call.policy.stale_for
        runtime.run(runtime.neighbours.add(query, lifetime))
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except StoreUnavailable:
        pass  # its breaker has told of it: the call has its exact key
    except Exception as error:  # noqa: BLE001 - the task has run (promise F1)
        runtime.observe(Fault(call_request.task.name, "semantic", error))
