"""The hit in the place of a run: its value, or the remembered failure (``cache_errors``).

The observers are told of it where it takes the place of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ...core.events import Answered, Observe
from ...core.options.option_values import Site
from ...core.options.policy import Policy
from ...core.results.remembered_errors import decode_error
from ..outcome import Hit

#: Id and answer of the call that is being completed here, the site that has found it, and its
#: observers. Not in the request: Celery takes unknown fields there for headers, which retries and
#: handlers send on.
_answer: ContextVar[tuple[str, Hit, Site, Observe] | None] = ContextVar(
    "taskcache_answer", default=None
)


@contextmanager
def answering(task_id: str, hit: Hit, site: Site, observe: Observe) -> Iterator[None]:
    """Answer a call with a site's hit: inside, the task returns it in place of its body."""
    token = _answer.set((task_id, hit, site, observe))
    try:
        yield
    finally:
        _answer.reset(token)


def answer_to(task_id: str) -> tuple[Hit, Site, Observe] | None:
    """Return the answer to a call that is being completed here, and its site; else None."""
    answer = _answer.get()
    return answer[1:] if answer is not None and answer[0] == task_id else None


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
            similarity=hit.similarity,
        )
    )
