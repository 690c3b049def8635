"""Remembered failures (``cache_errors``): the value of a hit, or what its run has raised."""

from __future__ import annotations

from typing import Any

from ..core.policy import Policy
from ..core.remembered_errors import decode_error
from .outcome import Hit


def value_of(policy: Policy, hit: Hit) -> Any:
    """The value of a hit.

    Raises:
        Exception: What the run has raised, if that is what was stored.
    """
    if hit.entry.is_failure:
        raise decode_error(hit.value, policy)
    return hit.value
