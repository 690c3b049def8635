"""Comparing a run's result with the stored one, for verification and shadow mode."""

from __future__ import annotations

from typing import Any

from ..core.events import Verified
from ..core.results.differences import differences
from ..errors import EntryError, StoreUnavailable, UnserializableResult
from .engine.engine import Engine
from .outcome import Call, Hit
from .plan import Plan


def compare(engine: Engine, call: Call, stored: Hit, value: Any) -> Plan[Verified]:
    """Compare a stored result with a run's result.

    Args:
        engine: The cache.
        call: The call.
        stored: The hit that was found before the run.
        value: The run's result.
    """
    entry = stored.entry
    how = (entry.serializer, entry.compression)
    codecs = engine.parts.codecs
    semantic, near = call.policy.semantic, stored.similarity
    try:
        returned = codecs.decode(codecs.encode(value, *how), *how)
    except UnserializableResult:
        return Verified(call.task, call.key, "incomparable", entry.task_id, similarity=near)
    before = codecs.decode(entry.payload, *how)
    if near is not None and semantic is not None and semantic.same is not None:
        says_same = semantic.same(before, returned)
        found: tuple[str, ...] = () if says_same else ("they don't say the same",)
    else:
        found = differences(before, returned)
    outcome = "same"
    if found:
        outcome = "different" if (yield from _is_current(engine, stored)) else "outdated"
    return Verified(call.task, call.key, outcome, entry.task_id, found, near)


def _is_current(engine: Engine, stored: Hit) -> Plan[bool]:
    """Whether a hit is still stored; an invalidation may have ended it meanwhile."""
    try:
        now = yield from engine.peek(stored.entry.key)
    except (StoreUnavailable, EntryError):
        return False
    return now is not None and now[0] == stored.entry
