"""Where a result came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    """Provenance of a call's result, as ``result.cache_status``.

    Attributes:
        hit: Whether it was answered from the cache.
        key: The call's key, or None when it has none.
        site: Where it was answered or looked for: ``producer``, ``consumer``, ``pool``.
        layer: ``l1`` or ``l2`` for a hit.
        stale: Whether that was past its ttl (RFC 5861), for a hit.
        age: Seconds since the result was stored, for a hit.
        task_id: Id of the task that computed it, for a hit.
        reason: For a miss or a bypass: why.
    """

    hit: bool
    key: str | None = None
    site: str | None = None
    layer: str | None = None
    stale: bool = False
    age: float | None = None
    task_id: str | None = None
    reason: str = ""
