"""Installation of the patches of Celery, once a process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from celery import Celery
from celery.canvas import group
from celery.result import AsyncResult

from ....core.events import Event
from ...canvas.group_prefetch import Prepared, apply_group
from ...patches.app import hidden_settings, publishing, task_decorator
from ...patches.canvas import group_application
from ...patches.canvas.group_application import ApplyPrepared
from ...patches.results import pending_results
from ...patches.worker import revocations
from ..task_cache import cache_of
from ..task_definition import check_definition, is_of_cached_task


def _apply_group(
    app: Celery,
    signature: group,
    prepared: Iterable[Prepared],
    options: Mapping[str, Any],
    apply: ApplyPrepared,
) -> Iterator[AsyncResult]:
    def observe(event: Event) -> None:  # a group without cached calls makes no cache for its app
        cache_of(app).runtime.observe(event)

    return apply_group(app, signature, prepared, options, apply=apply, observe=observe)


@cache
def install() -> None:
    """Install the patches that concern all apps; ``TaskCache`` installs those of its app."""
    task_decorator.install(check_definition, is_of_cached_task)
    group_application.install(_apply_group)
    publishing.install()
    revocations.install()
    pending_results.install()
    hidden_settings.hide_url()
