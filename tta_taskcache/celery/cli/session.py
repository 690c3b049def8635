"""What all commands have in common: finding the app's cache, and failing in one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ...errors import ConfigurationError, StoreUnavailable
from ..api.task_cache import TaskCache, cache_of
from . import formatting

#: Seconds that a command to Redis may take here, if the app's own timeout is shorter: nobody's
#: task waits.
PATIENCE = 3.0

NOTHING_FOUND = 1
USAGE = 2
UNREACHABLE = 3

_LOGGER = logging.getLogger("tta_taskcache")


class Failure(click.ClickException):
    """Ends a command: one line on stderr, and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(formatting.printable(" ".join(message.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # click's own way, but for its types


class CacheCommand(click.Command):
    """A command whose faults are told in a line: nobody has use for a traceback of ours."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreUnavailable as error:
            raise Failure(f"the cache can't be reached: {error}", UNREACHABLE) from None
        except ConfigurationError as error:
            raise Failure(str(error), USAGE) from None


def example(*commands: str) -> str:
    """The end of a command's help."""
    lines = "".join(f"  {command}\n" for command in commands)
    return f"\b\nExample{'s' * (len(commands) > 1)}:\n{lines}"


def note(message: str) -> None:
    """Tell people something that isn't part of the output."""
    click.echo("\n".join(map(formatting.printable, message.split("\n"))), err=True)


@contextmanager
def warnings_told() -> Iterator[None]:
    """Tell people what the library warns of inside, unless it fails: then that is what is told."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    listener, level, propagates = Listener(), _LOGGER.level, _LOGGER.propagate
    _LOGGER.addHandler(listener)
    _LOGGER.setLevel(logging.WARNING)
    _LOGGER.propagate = False
    try:
        yield
    finally:
        _LOGGER.removeHandler(listener)
        _LOGGER.setLevel(level)
        _LOGGER.propagate = propagates
    for message in heard:
        note(f"Warning: {message}")


def open_cache(context: Any) -> TaskCache:
    """The cache as ``find_cache``, but with patience."""
    cache = find_cache(context)
    is_patient = cache.runtime.settings.timeout >= PATIENCE
    return cache if is_patient else TaskCache(cache.app, timeout=PATIENCE)


def find_cache(context: Any) -> TaskCache:
    """The cache of the app that the command was given, with all its tasks. Connects to nothing yet.

    Args:
        context: Celery's ``CLIContext``.

    Raises:
        ConfigurationError: A wrong setting or task option.
        Failure: The app has no cache that it shares with other processes.
    """
    # What it warns of, the commands say themselves, in one line.
    _LOGGER.setLevel(logging.ERROR)
    app = context.app
    app.loader.import_default_modules()
    app.finalize()
    cache = cache_of(app)
    settings = cache.runtime.settings
    if settings.url is None:
        raise Failure(
            "this app has no taskcache_url and its result backend isn't Redis: each process "
            "caches in its own memory, so there is nothing shared to see "
            "(is it the right app? celery -A proj cache ...)",
            UNREACHABLE,
        )
    if not settings.enabled:
        note(
            "Note: caching is off in this app (taskcache_enabled); this is what Redis still holds."
        )
    return cache


def where(cache: TaskCache) -> str:
    """Which cache this is, without a password."""
    return f"{cache.runtime.store.name}, namespace {cache.runtime.settings.namespace}"
