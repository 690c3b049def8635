"""Private parts of ``AsyncResult``: what it remembers of its outcome."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult


def remember(result: AsyncResult, meta: dict[str, Any], *, in_group: bool) -> None:
    """Let a result hold its outcome, as if its backend had just told it.

    Args:
        result: The result.
        meta: What the backend would tell.
        in_group: Whether a group's result counts it: it does when the backend tells of it, so not
            now as well.
    """
    if in_group:
        result._set_cache(meta)
    else:
        result._maybe_set_cache(meta)
