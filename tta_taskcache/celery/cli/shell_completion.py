"""Shell completion of what only the app knows: the names of its cached tasks.

A shell asks the ``celery`` command itself for completions, by click's protocol. Click reads the
command line for that and calls no command, so the app isn't loaded: the completers below load it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import click
from celery import Celery
from click.shell_completion import CompletionItem

from ..api.cached_task import CachedTask

#: Completes a parameter: takes click's context, the parameter, and what has been typed of it.
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

#: What ``--since`` is completed with, and what each means.
_DAYS = {"1d": "today", "7d": "the last 7 days", "30d": "the last 30 days", "400d": "all kept days"}


def complete_task(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a cached task."""
    return _task_names(ctx, incomplete, lambda _: True)


def complete_semantic_task(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a task with ``cache_semantic``."""
    return _task_names(ctx, incomplete, lambda task: task.cache_policy.semantic is not None)


def complete_days(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a number of days."""
    return [CompletionItem(n, help=said) for n, said in _DAYS.items() if n.startswith(incomplete)]


def _task_names(
    ctx: click.Context, incomplete: str, is_wanted: Callable[[CachedTask], bool]
) -> list[CompletionItem]:
    """Return the names that begin with what was typed; none where the app can't be loaded.

    What the app's modules print would be taken for completions, or stand in the typed line.
    """
    logging.disable()
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        try:
            tasks = _load_app(ctx.find_root()).tasks
            names = [
                name
                for name, task in tasks.items()
                if isinstance(task, CachedTask) and name.startswith(incomplete) and is_wanted(task)
            ]
        except (Exception, SystemExit):  # noqa: BLE001 - of the app's modules: nothing to offer
            return []
    return [CompletionItem(name) for name in sorted(names)]


def _load_app(root: click.Context) -> Celery:
    """Let Celery's own command load the app, as it does before it calls another command."""
    command: Any = root.command
    root.invoked_subcommand = "cache"  # without one it prints its help
    root.invoke(command.callback, **root.params)
    app: Celery = root.obj.app
    app.loader.import_default_modules()
    app.finalize()
    return app
