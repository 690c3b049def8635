"""Group prefetch: the calls of a group are looked up together before each is made (promise R3).

Celery applies a group's signatures one by one. Before it does, the entries of a batch of them are
read in one round trip, and each call uses its own part of the reply.

Members that a generator has yet to make are looked up one by one, as they come: Celery applies each
before it asks for the next but one. Groups without cached tasks are left alone (promise S7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from celery.canvas import Signature
from celery.result import AsyncResult

from ...core.events import Fault, Observe
from ..calls.call_request import AT_ONCE, is_cached
from ..patches.internals import is_lazy
from ..sites.completion import completions_deferred
from ..sites.group_calls import GroupPrefetch, group_calls, in_group
from ..sites.short_way import answers_together
from .signature_calls import SignatureCall, embed_calls, first_calls, look_up_calls, read_call

#: A signature, its result, and the id of its group, as Celery prepares them.
Prepared = tuple[Signature, AsyncResult, str]


def apply_group(
    app: Celery,
    signature: Any,
    prepared: Iterable[Prepared],
    options: Mapping[str, Any],
    *,
    apply: Callable[[Iterable[Prepared]], Iterator[AsyncResult]],
    observe: Observe,
) -> Iterator[AsyncResult]:
    """Apply a group, whose cached calls are looked up first.

    Args:
        app: The app.
        signature: The group.
        prepared: Its signatures, as Celery has prepared them.
        options: The options that it applies each with: ``args``, ``kwargs`` and others.
        apply: Celery's own function that applies prepared signatures.
        observe: Receives faults.
    """
    is_generated = _is_generated(signature)
    if not is_generated and not _calls_cached(app, signature):
        return apply(prepared)
    if is_generated:
        return _in_group(apply(_note_results(app, prepared)))
    return _in_group(apply(prefetch_group(app, prepared, options, observe)))


def _in_group(results: Iterator[AsyncResult]) -> Iterator[AsyncResult]:
    with in_group(), completions_deferred(), answers_together():
        yield from results


def prefetch_group(
    app: Celery, prepared: Iterable[Prepared], options: Mapping[str, Any], observe: Observe
) -> Iterator[Prepared]:
    """Look up the calls of a group's signatures, a batch at a time.

    Args:
        app: The app.
        prepared: The signatures, as Celery has prepared them.
        options: The options that it applies each with: ``args``, ``kwargs`` and others.
        observe: Receives faults.
    """
    prepared = iter(prepared)
    while batch := list(islice(prepared, AT_ONCE)):
        try:
            _attach_results(app, batch, options)
        except SoftTimeLimitExceeded:
            raise  # the limit is the calling task's
        except Exception as error:  # noqa: BLE001 - then each call looks for itself (promise F1)
            observe(Fault("celery.group", "look", error))
        yield from batch


def _note_results(app: Celery, prepared: Iterable[Prepared]) -> Iterator[Prepared]:
    """Attach to each call, as it comes, the result object that its group keeps; look nothing up."""
    for each in prepared:
        sig, result, _ = each
        if is_cached(app.tasks.get(sig.task)):
            group_calls()[result.id] = GroupPrefetch(None, result)
        yield each


def _attach_results(app: Celery, batch: Sequence[Prepared], options: Mapping[str, Any]) -> None:
    steps: list[tuple[AsyncResult | None, SignatureCall]] = []
    for sig, result, _ in batch:
        if not is_cached(app.tasks.get(sig.task)):
            # The first step of a workflow finds its answer in L1.
            steps += [(None, step) for step in first_calls(app, sig)]
            continue
        group_calls()[result.id] = GroupPrefetch(None, result)
        step = read_call(app, sig, options, claims=True)
        if step is not None:
            steps.append((result, step))
    calls = [step for _, step in steps]
    lookup = embed_calls(calls, look_up_calls(calls))
    for (result, _), found in zip(steps, lookup, strict=True):
        if result is not None:
            group_calls()[result.id] = GroupPrefetch(found, result)


def _members(sig: Any) -> Any:
    """Return the members of a signature; empty for a single task's."""
    kwargs = sig.get("kwargs") or {}
    match sig.get("subtask_type"):
        case "group" | "chain":
            return kwargs.get("tasks") or ()
        case "chord":
            return kwargs.get("header") or ()
    return ()


def _calls_cached(app: Celery, sig: Any) -> bool:
    """Whether a signature calls a cached task at once."""
    members = [sig] if isinstance(sig, Mapping) else sig
    return any(
        is_cached(app.tasks.get(each.get("task"))) or _calls_cached(app, _members(each))
        for each in members
    )


def _is_generated(sig: Any) -> bool:
    """Whether a generator has yet to make members of a signature, which is Celery's to run."""
    members = _members(sig) if isinstance(sig, Mapping) else sig
    if isinstance(members, Mapping):
        return _is_generated(members)
    if not isinstance(members, (list, tuple)) or is_lazy(members):
        return True
    return any(_is_generated(each) for each in members)
