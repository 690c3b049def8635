"""The calls that signatures make at once when they are applied, and looking them up together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from celery import Celery
from celery.canvas import Signature, chord, group, maybe_signature
from celery.canvas import _chain as Chain  # noqa: N812 - chain() is a function that makes one

from ...core.lease import Claim
from ...core.option_values import Site
from ..calls.call_request import AT_ONCE, Asked, Seen, as_sent, is_cached
from ..lookup.lookup import look_all
from ..sites.producer import may_answer, read_asked, reserve


@dataclass(frozen=True, slots=True)
class Step:
    """A call that is about to be made."""

    asked: Asked
    claim: Claim | None = None


def look_at(steps: Sequence[Step]) -> list[Seen | None]:
    """Look all of them up in one round trip per node."""
    return look_all([step.asked for step in steps], Site.PRODUCER, [step.claim for step in steps])


def prefetch(app: Celery, signatures: Any) -> int:
    """Read what is stored for signatures into L1 (see ``TaskCache.prefetch``)."""
    all_of = signatures if _is_many(signatures) else [signatures]
    steps = chain.from_iterable(first_steps(app, each) for each in all_of)
    found = 0
    while batch := list(islice(steps, AT_ONCE)):
        found += sum(seen is not None and seen.hit is not None for seen in look_at(batch))
    return found


def _is_many(signatures: Any) -> bool:
    return not isinstance(signatures, Mapping) and isinstance(signatures, Iterable)


def first_steps(app: Celery, signature: Any) -> Iterator[Step]:
    """The calls of cached tasks that a signature makes at once when it is applied."""
    sig = maybe_signature(signature, app)
    if isinstance(sig, (group, chord)):
        # A chord's header is a list or a group.
        header = sig.tasks
        for each in [header] if isinstance(header, Mapping) else header:
            yield from first_steps(app, each)
    elif isinstance(sig, Chain):
        if sig.tasks:
            yield from first_steps(app, sig.tasks[0])
    elif sig is not None and (step := read_step(app, sig, {}, claims=False)) is not None:
        yield step


def read_step(
    app: Celery, sig: Signature, given: Mapping[str, Any], *, claims: bool
) -> Step | None:
    """The call that a signature makes, if the producer may answer it."""
    task = app.tasks.get(sig.task)
    if not is_cached(task):
        return None
    more = {name: given[name] for name in given if name not in ("args", "kwargs")}
    args, kwargs, options = sig._merge(given.get("args") or (), given.get("kwargs") or {}, more)
    if not may_answer(options):
        return None
    asked = read_asked(task, args, kwargs, options.get("cache"), options)
    if asked.mode not in ("use", "only"):
        return None
    asked = as_sent(asked, options.get("serializer"))
    return Step(asked, reserve(asked, sig.options) if claims else None)
