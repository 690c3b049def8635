"""The outcome of a hit: its value, or the remembered failure (``cache_errors``) of its run.

The observers are told of it where it takes the place of a run.
"""

from __future__ import annotations

from typing import Any

from ...core.events import Answered, Observe
from ...core.options.option_values import Site
from ...core.options.policy import Policy
from ...core.results.remembered_errors import decode_error
from ..outcome import Hit


def value_of(policy: Policy, hit: Hit) -> Any:
    """Return the value of a hit.

    Raises:
        Exception: The exception of the run, if that was stored.
    """
    if hit.entry.is_failure:
        raise decode_error(hit.value, policy)
    return hit.value


def record_answer(observe: Observe, task: str, task_id: str | None, hit: Hit, site: Site) -> None:
    """Tell the observers that a stored result takes the place of a run.

    Args:
        observe: The observers.
        task: The task's name.
        task_id: The call's id.
        hit: The stored result.
        site: The site that answers.
    """
    entry = hit.entry
    observe(
        Answered(
            task,
            task_id,
            entry.key,
            site.value,
            hit.layer,
            age=hit.age,
            computed_by=entry.task_id,
            freshness=hit.verdict.value,
            size=len(entry.payload),
            computed_in=entry.trace,
        )
    )
