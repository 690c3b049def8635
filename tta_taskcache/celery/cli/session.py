"""The session of a command: finding the app's cache, and failing in one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

import click

from ...errors import ConfigurationError, StoreUnavailable
from ..api.task_cache import TaskCache, cache_of
from . import formatting

#: Least timeout of a command to Redis here (s), where no task waits for it.
PATIENCE = 3.0

NOTHING_FOUND = 1
USAGE = 2
UNREACHABLE = 3

_LOGGER = logging.getLogger("tta_taskcache")


class Failure(click.ClickException):
    """The failure of a command: one line on stderr, and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(formatting.printable(" ".join(message.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # click's own way, but for its types


class CacheCommand(click.Command):
    """A command that fails in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # names may have what a terminal can't show
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except StoreUnavailable as error:
            raise Failure(f"the cache can't be reached: {error}", UNREACHABLE) from None
        except ConfigurationError as error:
            raise Failure(str(error), USAGE) from None


def example(*commands: str) -> str:
    """Return the examples at the end of a command's help."""
    lines = "".join(f"  {command}\n" for command in commands)
    return f"\b\nExample{'s' * (len(commands) > 1)}:\n{lines}"


def note(message: str) -> None:
    """Print a note on stderr, apart from the output."""
    click.echo("\n".join(map(formatting.printable, message.split("\n"))), err=True)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print the library's warnings of a block as notes, unless the block fails."""
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
    """Find the cache as ``find_cache`` does, and raise its timeout to ``PATIENCE``."""
    cache = find_cache(context)
    is_patient = cache.runtime.settings.timeout >= PATIENCE
    return cache if is_patient else TaskCache(cache.app, timeout=PATIENCE)


def find_cache(context: Any) -> TaskCache:
    """Find the cache of the command's app, with all its tasks. Connects to nothing yet.

    Args:
        context: Celery's ``CLIContext``.

    Raises:
        ConfigurationError: A setting or task option is wrong.
        Failure: The app has no cache that it shares with other processes.
    """
    # The commands report faults themselves, in one line.
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
    """Return store and namespace of a cache, without a password."""
    return f"{cache.runtime.store.name}, namespace {cache.runtime.settings.namespace}"
