"""The entry of a run's result, or the reason why it isn't to be stored."""

from __future__ import annotations

from typing import Any

from ...core.arguments.labels import MAX_TAGS
from ...core.entries import marks
from ...core.entries.entry import Entry, Position
from ...core.interruption import Interruptions, handled_now, raise_interruption
from ...core.options.policy import Policy
from ...errors import UnserializableResult
from ..outcome import Call
from ..runs.current_run import CurrentRun, Previous
from .parts import Parts

#: Seconds of the longest run that is stored: the log remembers no invalidation for longer.
MAX_RUN = 23 * 3600.0

#: Most marks of an entry. Renewals add to those of the entry that they keep.
MAX_MARKS = 4 * MAX_TAGS


def make_entry(
    parts: Parts,
    call: Call,
    position: Position | None,
    value: Any,
    *,
    run_seconds: float,
    task_id: str | None,
    cost: float,
    remember_for: float,
    decided: CurrentRun,
    renews: Previous | None,
) -> tuple[Entry | None, str]:
    """Make the entry of a result; None, and the reason, when it isn't to be stored.

    Raises:
        OversizedResult: The result is larger than ``cache_max_bytes``.
    """
    if position is None:
        return None, "unavailable"
    if run_seconds > MAX_RUN:
        return None, "too-late"
    born, reason = decided.born(position)
    if not remember_for:
        reason = reason or _refuses(parts, call.policy, decided, value)
    if born is None or reason:
        return None, reason
    policy = decided.applied_to(call.policy)
    fresh_for = remember_for or policy.fresh_for(parts.draw())
    staleness = decided.staleness
    if staleness is not None:  # it is no fresher than what went in
        fresh_for = 0.0
    stale_for = 0.0 if remember_for else policy.stale_for
    revalidated_for = 0.0 if remember_for else policy.stale_while_revalidate
    names = _marks(call, decided)
    is_outlived = staleness is not None and staleness >= stale_for
    if is_outlived or len(names) > MAX_MARKS:
        return None, "stale-dependency" if is_outlived else "too-many-marks"
    try:
        payload = (
            renews.entry.payload
            if renews
            else parts.codecs.encode(
                value, policy.serializer, policy.compression, max_bytes=policy.max_bytes
            )
        )
    except UnserializableResult:
        return None, "unserializable"
    entry = Entry(
        key=call.key,
        task=call.task,
        task_id=task_id,
        created_at=parts.wall(),
        lifetime=fresh_for + stale_for,
        fresh_for=fresh_for,
        served_above_ms=int((stale_for - revalidated_for) * 1000),
        is_failure=bool(remember_for),
        run_seconds=run_seconds,
        cost=cost,
        born=born,
        marks=names,
        serializer=policy.serializer,
        compression=policy.compression,
        payload=payload,
        traits=call.traits,
        trace=parts.trace(),
        etag=decided.etag,
        windows=(
            None
            if decided.windows == (None, None) or remember_for
            else (policy.stale_while_revalidate, policy.stale_if_error)
        ),
    )
    return entry, ""


def _refuses(parts: Parts, policy: Policy, decided: CurrentRun, value: Any) -> str:
    """Return the reason why run or policy refuse a result; empty when they don't."""
    interruptions = parts.codecs.interruptions
    return (
        decided.refusal
        or _refuses_by_policy(policy, value, interruptions)
        or _decide_by_result(decided, policy, value, interruptions)
    )


def _marks(call: Call, decided: CurrentRun) -> tuple[str, ...]:
    """Return the marks that end an entry: the call's, the run's tags, and its dependencies'."""
    if not decided.tags and not decided.marks:
        return call.marks
    return tuple(dict.fromkeys((*call.marks, *map(marks.of_tag, decided.tags), *decided.marks)))


def _decide_by_result(
    decided: CurrentRun, policy: Policy, value: Any, interruptions: Interruptions = ()
) -> str:
    """Let the policy's callables of the result decide ttl and tags; return why it isn't stored."""
    handled = handled_now()
    try:
        if policy.ttl_of is not None and decided.ttl is None:
            decided.say("ttl", policy.ttl_of(value))
        if policy.tags_of is not None:
            decided.say("tags", policy.tags_of(value))
    except Exception as error:  # noqa: BLE001 - the task has run, and doesn't fail for this
        raise_interruption(error, interruptions, handled)
        return "cache-ttl-failed" if policy.ttl_of is not None else "cache-tags-failed"
    return decided.refusal


def _refuses_by_policy(policy: Policy, value: Any, interruptions: Interruptions = ()) -> str:
    """Return the reason why ``cache_if`` refuses a result; empty when it doesn't."""
    if policy.if_ is None:
        return ""
    handled = handled_now()
    try:
        return "" if policy.if_(value) else "cache-if"
    except Exception as error:  # noqa: BLE001 - the task has run, and doesn't fail for this
        raise_interruption(error, interruptions, handled)
        return "cache-if-failed"
