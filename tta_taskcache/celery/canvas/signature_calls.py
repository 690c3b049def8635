"""The calls that signatures make at once when they are applied, and their common lookup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from celery import Celery
from celery.canvas import Signature, chord, group, maybe_signature

from ...core.entries.lease import Claim
from ...core.options.option_values import Site
from ...core.record import record
from ..calls.call_request import AT_ONCE, CallRequest, is_cached
from ..calls.lookup_result import LookupResult
from ..lookup.lookup import look_up_all
from ..lookup.semantic_lookup import embed_together
from ..patches.internals import Chain, merge
from ..patches.worker.revocations import is_revoked
from ..sites.producer import claim_reservation, may_answer, read_call_request


@record
class SignatureCall:
    """A call that is about to be made.

    Attributes:
        call_request: The call.
        claim: Its claim to the lease.
        compares: Whether a neighbour may answer it (``cache_semantic``).
    """

    call_request: CallRequest
    claim: Claim | None = None
    compares: bool = True


def look_up_calls(steps: Sequence[SignatureCall]) -> list[LookupResult | None]:
    """Look calls up together, in one round trip per node."""
    return look_up_all(
        [step.call_request for step in steps], Site.PRODUCER, [step.claim for step in steps]
    )


def embed_calls(
    steps: Sequence[SignatureCall], found: list[LookupResult | None]
) -> list[LookupResult | None]:
    """Embed the texts of calls that missed together, and return their lookups with the vectors."""
    requests = [step.call_request for step in steps]
    return embed_together(requests, found, [step.compares for step in steps])


def prefetch(app: Celery, signatures: Any) -> int:
    """Read the entries of signatures' calls into L1 (see ``TaskCache.prefetch``)."""
    all_of = signatures if _is_many(signatures) else [signatures]
    steps = chain.from_iterable(first_calls(app, each) for each in all_of)
    found = 0
    while batch := list(islice(steps, AT_ONCE)):
        found += sum(
            lookup is not None and lookup.hit is not None for lookup in look_up_calls(batch)
        )
    return found


def _is_many(signatures: Any) -> bool:
    return not isinstance(signatures, Mapping) and isinstance(signatures, Iterable)


def first_calls(app: Celery, signature: Any) -> Iterator[SignatureCall]:
    """Yield the calls of cached tasks that a signature makes at once when it is applied."""
    sig = maybe_signature(signature, app)
    if isinstance(sig, (group, chord)):
        # A chord's header is a list or a group.
        header = sig.tasks
        for each in [header] if isinstance(header, Mapping) else header:
            yield from first_calls(app, each)
    elif isinstance(sig, Chain):
        if sig.tasks:
            yield from first_calls(app, sig.tasks[0])
    elif sig is not None and (step := read_call(app, sig, {}, claims=False)) is not None:
        yield step


def read_call(
    app: Celery, sig: Signature, given: Mapping[str, Any], *, claims: bool
) -> SignatureCall | None:
    """Return the call that a signature makes; None unless the producer may answer it."""
    task = app.tasks.get(sig.task)
    if not is_cached(task):
        return None
    args, kwargs, options = merge(sig, given)
    if not may_answer(options, app) or is_revoked(options):
        return None
    call_request = read_call_request(task, args, kwargs, options.get("cache"), options)
    if call_request.mode not in ("use", "only", "no-store"):
        return None
    claim = claim_reservation(call_request, sig.options) if claims else None
    return SignatureCall(call_request, claim, options.get("cache_semantic") is not False)
