"""Neighbours of a call that missed: finding one that answers, and adding a call to the index.

A text is embedded once for a call: at the first site that looks, or else where the call runs. The
consumer site embeds nothing: a worker's main process has other work to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.engine.lookup_record import VERIFY
from ...cache.outcome import Call
from ...core.events import Fault
from ...core.options.option_values import Site
from ...core.semantic.partition import SemanticCall
from ...core.semantic.semantic_policy import read_threshold
from ...errors import StoreUnavailable, UncacheableCall
from ...semantic.neighbour_lookup import NeighbourRequest
from ...semantic.neighbours import NeighbourSearch
from ..calls.call_request import CallRequest
from ..calls.carried_text import CarriedText, seal, unseal
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
    try:
        threshold = read_threshold(carried.asked, semantic.threshold)
        about = None if threshold is None else semantic_call(call_request)
        if threshold is None or about is None:
            return lookup
        request = NeighbourRequest(
            call=replace(call, verify=call_request.is_verified),
            about=about,
            threshold=threshold,
            site=(site or DIRECT),
            vector=_unsealed(call_request, lookup.vector, about.text),
            is_shadowed=call_request.is_shadowed,
        )
        if request.vector is None and site is Site.CONSUMER:
            return lookup
        return _find(call_request, lookup, request)
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        call_request.runtime.observe(Fault(call_request.task.name, "semantic", error))
        return lookup


def _find(
    call_request: CallRequest, lookup: LookupResult, request: NeighbourRequest
) -> LookupResult:
    """Find the neighbour that answers."""
    runtime, call = call_request.runtime, lookup.call
    found = runtime.run(runtime.neighbours.look(request))
    vector = None
    if found.vector is not None:
        vector = _sealed(call_request, found.vector, request.about.text)
    lookup = replace(lookup, vector=vector)
    if found.hit is None:
        return lookup
    if lookup.owner:  # the call doesn't run: others needn't wait for it
        with suppress(StoreUnavailable):
            runtime.run(runtime.engine.release(request.call.key, lookup.owner))
    if request.is_shadowed:
        return LookupResult(call, instead=found.hit, reason=lookup.reason, vector=vector)
    if request.call.verify and found.hit.can_be_verified:
        return LookupResult(call, instead=found.hit, reason=VERIFY, vector=vector)
    return LookupResult(call, hit=found.hit, seconds=found.seconds, vector=vector)


def neighbour_request(call_request: CallRequest, call: Call) -> NeighbourRequest | None:
    """Return the lookup of a direct call among its neighbours; None when it isn't compared."""
    semantic = call.policy.semantic
    about = semantic_call(call_request) if semantic is not None else None
    if semantic is None or about is None:
        return None
    return NeighbourRequest(call=call, about=about, threshold=semantic.threshold, site=DIRECT)


def semantic_call(call_request: CallRequest) -> SemanticCall | None:
    """Return what a call is compared by; None when it has only its exact key."""
    secret = call_request.runtime.engine.parts.secret
    try:
        return call_request.keyer.semantic_call(
            call_request.args, call_request.kwargs, call_request.context, secret, call_request.form
        )
    except UncacheableCall:  # an argument has changed since it was looked up
        return None
    except SoftTimeLimitExceeded:
        raise  # the limit is the task's
    except Exception as error:  # noqa: BLE001 - a cache_key may need a text
        call_request.runtime.observe(Fault(call_request.task.name, "semantic", error))
        return None


def _sealed(call_request: CallRequest, vector: bytes, text: str) -> bytes:
    """Return a text's vector as it is handed on."""
    return seal(text, vector, *_sealing(call_request))


def _unsealed(call_request: CallRequest, sealed: bytes | None, text: str) -> bytes | None:
    """Return a vector that was handed on, if it is this text's."""
    return unseal(sealed, text, *_sealing(call_request))


def _sealing(call_request: CallRequest) -> tuple[str, bytes]:
    semantic = call_request.policy.semantic
    name = semantic.embedder_name if semantic is not None else ""
    return name, call_request.runtime.engine.parts.secret


def embed_together(
    call_requests: Sequence[CallRequest],
    found: list[LookupResult | None],
    compares: Sequence[bool],
) -> list[LookupResult | None]:
    """Embed the texts of calls that missed, those of a task together. Raises no fault.

    Args:
        call_requests: The calls, of one app.
        found: The result of each one's lookup under its exact key.
        compares: Whether a neighbour may answer each.

    Returns:
        The results, with the vectors.
    """
    texts: dict[str, dict[int, str]] = {}
    for i, (call_request, lookup) in enumerate(zip(call_requests, found, strict=True)):
        is_missed = lookup is not None and lookup.hit is None and lookup.call is not None
        if is_missed and compares[i] and call_request.policy.semantic is not None:
            about = semantic_call(call_request)
            if about is not None:
                texts.setdefault(call_request.task.name, {})[i] = about.text
    for by_call in texts.values():
        first = call_requests[next(iter(by_call))]
        semantic, distinct = first.policy.semantic, list(dict.fromkeys(by_call.values()))
        if semantic is None or len(distinct) < 2:  # noqa: PLR2004 - one is embedded by its own call
            continue
        embedder = first.runtime.neighbours.embedder(first.task.name, semantic)
        vectors = dict(zip(distinct, embedder.embed(distinct), strict=True))
        for i, text in by_call.items():
            lookup, vector = found[i], vectors[text]
            if lookup is not None and vector is not None:
                found[i] = replace(lookup, vector=_sealed(call_requests[i], vector, text))
    return found


def explain_neighbours(call_request: CallRequest, call: Call) -> NeighbourSearch:
    """Judge the nearest calls of one that missed, however far they are. Raises no fault."""
    semantic, about = call.policy.semantic, semantic_call(call_request)
    if semantic is None or about is None:
        return NeighbourSearch()
    runtime = call_request.runtime
    return runtime.run(runtime.neighbours.explain(call, about, semantic.threshold))


def add_neighbour(
    call_request: CallRequest, lookup: LookupResult, about: SemanticCall | None
) -> None:
    """Add a call whose result was just stored to the index. Raises no fault.

    Args:
        call_request: The call.
        lookup: The result of its lookup before the run.
        about: What it is compared by, from before the run, which may change its arguments.
    """
    call = lookup.call
    if call is None or about is None:
        return
    runtime = call_request.runtime
    try:
        vector = _unsealed(call_request, lookup.vector, about.text)
        runtime.run(runtime.neighbours.add(call, about, vector))
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as error:  # noqa: BLE001 - the task has run (promise F1)
        runtime.observe(Fault(call_request.task.name, "semantic", error))
