"""The outcome of a hit: its value, or the remembered failure (``cache_errors``) of its run."""

from __future__ import annotations

from typing import Any

from ..core.policy import Policy
from ..core.remembered_errors import decode_error
from .outcome import Hit


def value_of(policy: Policy, hit: Hit) -> Any:
    """Return the value of a hit.

    Raises:
        Exception: The exception of the run, if that was stored.
    """
    if hit.entry.is_failure:
        raise decode_error(hit.value, policy)
    return hit.value
