"""Observers of the user's: callables that are told of each event, and loaded by name.

An observer is called with a frozen record (``core.events``) in the thread where it happened, right
then: it has to be quick, safe in threads and after a fork. What it raises is logged and goes no
further. One that has a method ``in_message`` is asked for a context manager, with a message's
headers, while a worker's main process looks that message up: there, no task's context is in force.
One that has a method ``current_trace`` is asked for the W3C traceparent of the span in force when a
result is stored; hits of it are told with that (``computed_in``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from ..core.entries.entry import MAX_TRACE
from ..core.events import Event, Observe
from ..errors import ConfigurationError
from .logs import log_fields

logger = logging.getLogger("tta_taskcache")

#: The entry points that name observers: each a callable without arguments that makes one.
GROUP: Final = "tta_taskcache.observers"

#: Puts a message's context in force.
InMessage = Callable[[Mapping[str, Any]], AbstractContextManager[object]]

#: Returns the W3C traceparent of the span in force; empty without one.
CurrentTrace = Callable[[], str]


@cache
def available() -> dict[str, EntryPoint]:
    """The observers that are installed, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def load(name: str) -> Observe:
    """Make the observer of this name, once a process.

    Raises:
        ConfigurationError: What it talks to isn't installed.
    """
    try:
        observer: Observe = available()[name].load()()
    except ImportError as error:
        raise ConfigurationError(f"observer {name!r}: {error}") from error
    return observer


class Observers:
    """Tells several observers, whatever one of them raises.

    Args:
        observers: The observers, or names of them.
        passes: Exceptions that aren't an observer's fault: a time limit of the task's.

    Raises:
        ConfigurationError: One that was named needs what isn't installed.
    """

    def __init__(
        self, observers: Iterable[str | Observe], passes: tuple[type[Exception], ...] = ()
    ) -> None:
        self._observers = tuple(load(o) if isinstance(o, str) else o for o in observers)
        self._passes = passes
        self._in_message: tuple[InMessage, ...] = tuple(
            observer.in_message for observer in self._observers if hasattr(observer, "in_message")
        )
        self._current_trace: tuple[CurrentTrace, ...] = tuple(
            observer.current_trace
            for observer in self._observers
            if hasattr(observer, "current_trace")
        )
        self._said: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def __call__(self, event: Event) -> None:
        """Tell all of them. Never raises for a fault of theirs."""
        for observer in self._observers:
            try:
                observer(event)
            except self._passes:
                raise
            except Exception as error:  # noqa: BLE001 - no observer is worth a task (promise F1)
                self._fault(observer, error)

    def in_message(self, headers: Mapping[str, Any]) -> AbstractContextManager[object]:
        """Put the context of a message in force, where an observer has one."""
        if not self._in_message:
            return nullcontext()
        stack = ExitStack()
        for enter in self._in_message:
            try:
                stack.enter_context(enter(headers))
            except Exception as error:  # noqa: BLE001 - likewise
                self._fault(enter, error)
        return stack

    def current_trace(self) -> str:
        """The traceparent of the span in force; empty when no observer knows of one."""
        traces = (self._ask(ask) for ask in self._current_trace)
        return next(filter(None, traces), "")

    def _ask(self, ask: CurrentTrace) -> str:
        try:
            trace = ask()
        except self._passes:
            raise
        except Exception as error:  # noqa: BLE001 - likewise
            self._fault(ask, error)
            return ""
        if len(trace) <= MAX_TRACE:
            return trace
        self._fault(ask, ValueError(f"no traceparent: {trace:.80}"))
        return ""

    def _fault(self, observer: object, error: Exception) -> None:
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        level = logging.DEBUG if name in self._said else logging.WARNING
        self._said.add(name)
        about = log_fields("ObserverFault", observer=name, error=error)
        logger.log(level, "observer %s has failed: %r", name, error, extra=about)
