"""What ``cache init`` finds in an app and misses there, and the settings that it writes; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from ...core.record import record
from ..config.settings import PREFIX

#: Most names of tasks that are shown.
NAMED = 5

#: Where the cache goes when the app has no Redis yet.
LOCAL = "redis://localhost:6379/0"

_CACHED = "@app.task(base=CachedTask, cache_ttl=3600)"


class ConfigKind(Enum):
    """The place where an app's settings are written."""

    DJANGO = "Django's settings"
    MODULE = "a configuration module"
    APP = "app.conf"


@record(kw_only=True)
class AppSetup:
    """An app as it is set up. No text in it has a password.

    Attributes:
        name: The app's main name; empty without one.
        kind: Where its settings are.
        source: Name of that module; empty for ``app.conf``.
        prefix: What stands in front of the names of its settings there, such as ``CELERY_``.
        broker: Its broker.
        result_backend: Its result backend; empty for none.
        serializers: The serializers of its messages and results.
        cached: Names of its cached tasks.
        plain: Number of its other tasks.
        given: Names of the cache's settings that it has.
        cache: Where its entries are; empty for the memory of each process.
        is_backends: Whether that is the result backend's Redis by default.
        server: What the cache's Redis is (``Valkey 9.1.2``); empty when that isn't known.
        fault: Why the cache's Redis can't be reached; empty when it can.
        namespace: Namespace to write; empty to leave it.
        url: URL of the cache's Redis to write; empty to leave it.
        remark: What to know about that URL.
        is_used: Whether the default namespace is in use already.
        lacks_django_app: Whether it is Django's, without ``tta_taskcache.django``.
    """

    name: str
    kind: ConfigKind
    source: str = ""
    prefix: str = ""
    broker: str
    result_backend: str
    serializers: str
    cached: tuple[str, ...]
    plain: int
    given: tuple[str, ...] = ()
    cache: str = ""
    is_backends: bool = False
    server: str = ""
    fault: str = ""
    namespace: str = ""
    url: str = ""
    remark: str = ""
    is_used: bool = False
    lacks_django_app: bool = False

    @property
    def place(self) -> str:
        """The place where its settings are written, for a sentence."""
        return self.source or "app.conf"

    @property
    def where_to_add(self) -> str:
        """The place for further settings, for a sentence."""
        return f"to {self.source}" if self.source else "below your app = Celery(...)"

    def found(self) -> dict[str, str]:
        """Return what was found, by its name."""
        tasks = ", ".join(self.cached[:NAMED]) + ", …" * (len(self.cached) > NAMED)
        where = f"{self.kind.value} ({self.source})" if self.source else self.kind.value
        return {
            "App": f"{self.name or '(without a name)'}, set up in {where}",
            "Broker": self.broker,
            "Result backend": self.result_backend or "none",
            "Serializers": self.serializers,
            "Cached tasks": f"{len(self.cached)} of {len(self.cached) + self.plain}"
            + (f": {tasks}" if tasks else ""),
            "Cache": self._cache(),
            "Settings": ", ".join(f"{PREFIX}{name}" for name in self.given)
            or "none of the cache's",
        }

    def _cache(self) -> str:
        if not self.cache:
            return "in the memory of each process: no Redis is known"
        whose = " (the result backend's)" if self.is_backends else ""
        answer = f"can't be reached: {self.fault}" if self.fault else self.server or "it answers"
        return f"{self.cache}{whose}, {answer}"

    def missing(self) -> Iterator[str]:
        """Yield what is missing, and what to do about it."""
        if not self.cached and not self.plain:
            yield (
                "tasks: none was found. Is it the right app (celery -A proj cache init), and does "
                "it import its tasks (imports, app.autodiscover_tasks)?"
            )
        elif not self.cached:
            yield f"a cached task: from tta_taskcache import CachedTask, then {_CACHED}"
        if not self.result_backend:
            yield (
                "a result backend (result_backend): without one callers get no results, from the "
                "cache or from a run"
            )
        if self.fault:
            yield f"a Redis that answers at {self.cache}"
        elif self.url:
            yield f"a Redis for the cache: the settings below name {self.url}"
        if self.lacks_django_app:
            yield "'tta_taskcache.django' in INSTALLED_APPS, with which manage.py check checks it"

    def settings(self) -> list[tuple[str, str, str]]:
        """Return the settings to write: names, values and remarks."""
        found = []
        if self.url:
            found.append((f"{PREFIX}url", self.url, self.remark))
        if self.namespace:
            anew = " What is stored without it starts anew." if self.is_used else ""
            remark = f"Keeps the entries of other apps apart.{anew}"
            found.append((f"{PREFIX}namespace", self.namespace, remark))
        return found

    def lines(self, *, as_module: bool = False) -> list[str]:
        """Return the settings as Python, in the form of the place where they are written.

        Args:
            as_module: As a module that the app is told to read.
        """
        is_call = self.kind is ConfigKind.APP and not as_module
        is_django = self.kind is ConfigKind.DJANGO
        lines = []
        for name, value, remark in self.settings():
            own = self.prefix + (name.upper() if is_django else name)
            setting = f'    {name}="{value}",' if is_call else f'{own} = "{value}"'
            lines += [f"{'    ' if is_call else ''}# {remark}", setting]
        return ["app.conf.update(", *lines, ")"] if is_call else lines
