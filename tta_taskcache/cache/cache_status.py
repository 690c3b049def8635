"""``result.cache_status``: the provenance of a result."""

from __future__ import annotations

from ..core.record import record
from .outcome import Hit


@record(kw_only=True)
class CacheStatus:
    """Provenance of a call's result, on what ``apply_async`` returns.

    Attributes:
        hit: Whether the call was answered from the cache.
        key: The call's key; None when it has none.
        site: The site that answered or looked: ``"producer"`` or ``"pool"``; None at none.
        layer: Of a hit: ``"l1"`` (memory of the process) or ``"l2"`` (Redis); else None.
        stale: Whether a hit is past its ttl (RFC 5861).
        age: Of a hit: seconds since the result was stored, by the store's clock; else None.
        task_id: Of a hit: id of the task that computed it; None for ``task.cache``.
        similarity: Of a hit by a neighbour (``cache_semantic``): cosine similarity of its text;
            None under the call's own key.
        matched: Of such a hit: the neighbour's text; else None.
        reason: Of a miss or bypass: the word under which it is counted; else empty.
    """

    hit: bool
    key: str | None = None
    site: str | None = None
    layer: str | None = None
    stale: bool = False
    age: float | None = None
    task_id: str | None = None
    similarity: float | None = None
    matched: str | None = None
    reason: str = ""


def status_of(hit: Hit, key: str | None = None, site: str | None = None) -> CacheStatus:
    """Return the provenance of a hit.

    Args:
        hit: The hit.
        key: The call's key, which a neighbour's hit hasn't; None for the hit's.
        site: The site that answers.
    """
    return CacheStatus(
        hit=True,
        key=hit.entry.key if key is None else key,
        site=site,
        layer=hit.layer,
        stale=hit.verdict.is_stale,
        age=hit.age,
        task_id=hit.entry.task_id,
        similarity=hit.similarity,
        matched=hit.matched or None,
    )
