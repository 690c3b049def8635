"""The provider of an app's runtime in this process."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from celery import Celery, Task, signals

from ...core.results.codec import Codecs
from ...observability.counters import Counters
from ...observability.logs import log_fields
from ..calls import context
from ..config.options import read_keyer
from ..config.runtime import Runtime, build
from ..config.serializers import CODECS, EXACT_CODECS
from ..config.settings import Settings, check_keywords, read_settings
from ..warming.schedules import Schedule

logger = logging.getLogger("tta_taskcache")

_RUNTIME = "runtime"


class RuntimeProvider:
    """Builds an app's runtime when it is first used, and anew when settings change.

    Args:
        app: The app.
        schedule: The app's schedule, which tasks are warmed on.
    """

    def __init__(self, app: Celery, schedule: Schedule) -> None:
        self._app = app
        self._schedule = schedule
        self._overrides: dict[str, Any] = {}
        self._tasks: dict[str, type[Task]] = {}
        self._built: dict[str, Runtime] = {}
        self._counters = Counters()
        self._substitute: Runtime | None = None
        _all.add(self)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Override settings of ``app.conf``.

        Raises:
            ConfigurationError: A setting is unknown, or its value isn't allowed.
        """
        if all(
            name in self._overrides and self._overrides[name] == settings[name] for name in settings
        ):
            return
        check_keywords(settings)
        self._overrides.update(settings)
        built = self._built.get(_RUNTIME)
        # The runtime in use goes on, with its memory and connections, unless a setting is new.
        if built is None or built.settings != self.settings:
            self._built = {}

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        return read_settings(self._app, self._overrides)

    @property
    def runtime(self) -> Runtime:
        """The runtime, built if there is none yet.

        Raises:
            ConfigurationError: A setting, or an option of a task, is wrong.
        """
        if self._substitute is not None:
            return self._substitute
        built = self._built
        if not built:
            settings = self.settings
            # The settings may have changed since the tasks were bound.
            for task in list(self._tasks.values()):
                self.adopt(task)
            mine = build(settings, self._codecs, self._counters)
            # Threads that build at once all get the first runtime (without a lock: promise F3).
            if built.setdefault(_RUNTIME, mine) is mine and settings.url is None:
                logger.warning(
                    "no taskcache_url, and the result backend isn't Redis: "
                    "caching in the memory of each process only",
                    extra=log_fields("MemoryOnly"),
                )
        return built[_RUNTIME]

    @property
    def _codecs(self) -> Codecs:
        exact = self._app.conf.result_serializer != "json"
        return EXACT_CODECS if exact else CODECS

    @contextmanager
    def substituted(self, settings: Settings, clock: Callable[[], float]) -> Iterator[Runtime]:
        """Replace the runtime inside a block (see ``TaskCache.substituted``)."""
        before = self._substitute
        self._substitute = build(settings, self._codecs, clock=clock)
        try:
            yield self._substitute
        finally:
            self._substitute = before

    def adopt(self, task: type[Task]) -> None:
        """Validate a task's options with the settings in force, when it is bound to the app.

        Raises:
            ConfigurationError: An option is wrong; the message names task, option and what is
                allowed.
        """
        settings = self.settings
        keyer = read_keyer(task, settings.default_ttl, settings.secret)
        task._cache_provider, task._cache_keyer = self, keyer
        self._tasks[keyer.task] = task
        context.declared.update(keyer.policy.vary)
        if keyer.policy.warm is not None:
            self._schedule.warm(keyer.task, keyer.policy.warm)

    def hand_over_counts(self) -> None:
        """Add this process's counts to the shared totals, before it ends."""
        if self._built and self.runtime.is_reachable:
            self.runtime.hot_calls.flush()
            self.runtime.hand_over_counts()


#: The providers of all apps of this process.
_all: WeakSet[RuntimeProvider] = WeakSet()


@signals.worker_process_shutdown.connect
def _hand_over(**_: Any) -> None:
    for provider in list(_all):
        provider.hand_over_counts()


atexit.register(_hand_over)
