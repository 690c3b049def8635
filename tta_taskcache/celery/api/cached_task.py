"""``CachedTask``: the task base class, and the pool site."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from celery import Celery, Task
from celery.canvas import Signature
from celery.result import AsyncResult

from ...cache.runs.request_directives import Mode, read_mode
from ...core.identity.keys import Keyer
from ...core.options.policy import Policy
from ..calls import context
from ..calls.call_request import MAX_AGE
from ..config.options import read_keyer
from ..config.runtime import Runtime
from ..sites.pool import UNSTORED, answer_or_run
from ..sites.producer import apply_cached
from .runtime_provider import RuntimeProvider
from .task_cache import TaskCache, cache_of
from .task_handle import TaskHandle

#: Set on a request that has passed the pool site: calls of the task under it are direct calls.
_PASSED = "taskcache_passed"


class CachedTask(Task):
    """Base class of cached tasks: ``@app.task(base=CachedTask, cache_ttl=3600)``.

    The options are plain task attributes, so class attributes, inheritance and Celery's
    ``task_annotations`` all work. A wrong option raises ``ConfigurationError`` where the task is
    defined. ``options.policy.Policy`` describes each option ``cache_<field>``, with type and unit.
    """

    abstract = True

    cache_ttl: Any = None
    cache_jitter: Any = None
    cache_stale_while_revalidate: Any = None
    cache_stale_if_error: Any = None
    cache_refresh_queue: Any = None
    cache_errors: Any = None
    cache_if: Any = None
    cache_validate: Any = None
    cache_min_run: Any = None
    cache_max_bytes: Any = None
    cache_key: Any = None
    cache_each: Any = None
    cache_ignore: Any = None
    cache_vary: Any = None
    cache_tags: Any = None
    cache_depends: Any = None
    cache_coalesce: Any = None
    cache_version: Any = None
    cache_serializer: Any = None
    cache_compression: Any = None
    cache_warm: Any = None
    cache_sites: Any = None
    cache_cost: Any = None
    cache_verify: Any = None
    cache_semantic: Any = None
    cache_shadow: Any = None
    cache_enabled: Any = None

    _cache_keyer: Keyer
    _cache_provider: RuntimeProvider

    def __class_getitem__(cls, _: Any) -> type[CachedTask]:
        """``CachedTask[[int], str]`` is for type checkers: the class itself."""
        return cls

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _add_django(cls)
        read_keyer(cls, default_ttl=1.0)
        # A user's own __call__ (Flask's pushes its app context) runs only when the task does.
        call = cls.__call__
        if not getattr(call, "_taskcache_site", False):
            cls.__call__ = _pool_site(call)  # type: ignore[method-assign]  # as Celery does

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Install the cache on the app; annotations have changed the options by now."""
        super().on_bound(app)
        if not is_builtin(cls):
            cache_of(app).adopt(cls)

    @classmethod
    def taskcache(cls) -> TaskCache:
        """The cache of this task's app."""
        return cache_of(cls._get_app())

    @property
    def cache_runtime(self) -> Runtime:
        """The cache of this process."""
        return type(self)._adopted()._cache_provider.runtime

    @property
    def cache_policy(self) -> Policy:
        """The ``cache_*`` options of this task, validated."""
        return self.cache_keyer.policy

    @property
    def cache_keyer(self) -> Keyer:
        """The computer of the keys of this task's calls."""
        return type(self)._adopted()._cache_keyer

    @classmethod
    def _adopted(cls) -> type[CachedTask]:
        """Return the class, which its app's cache has adopted."""
        app = cls._get_app()  # binds a task class that wasn't used yet
        if not hasattr(cls, "_cache_keyer"):  # another thread is binding it
            cache_of(app).adopt(cls)
        return cls

    @property
    def cache(self) -> TaskHandle:
        """The cache bound to this task: ``task.cache.get(…)``, ``task.cache.call(…)`` and so on."""
        return TaskHandle(self)

    def apply_async(  # noqa: D417, PLR0917 - the signature is Celery's, and described there
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        cache: Mode | None = None,
        cache_max_age: float | timedelta | None = None,
        cache_semantic: float | bool | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Call the task; a hit is answered here, and no message is sent.

        Args:
            cache: ``"use"`` (default): answer from the cache, or run and store; ``"refresh"``: run,
                and replace the entry; ``"bypass"``: run, and neither read nor store; ``"only"``:
                answer from the cache or raise; ``"no-store"``: answer from the cache, or run and
                store nothing (RFC 9111, section 5.2.1.5).
            cache_max_age: Greatest age of an entry that answers this call (seconds or a timedelta,
                0 or more); a stale one doesn't (RFC 9111, section 5.2.1.1). None for no bound.
            cache_semantic: False: only the exact key counts; or a threshold above the task's.

        All other arguments are those of Celery's ``Task.apply_async``.

        Returns:
            Celery's result, with a ``CacheStatus`` as its ``cache_status``. That of a hit holds its
            value, and every process can read it from the result backend.

        Raises:
            CacheMiss: ``cache="only"``, and no entry answers the call.
            ValueError: ``cache`` is another mode, or an age or ``cache_semantic`` isn't allowed.
            OperationalError: The broker can't be reached (Celery's own).
        """
        options.update(
            task_id=task_id,
            producer=producer,
            link=link,
            link_error=link_error,
            shadow=shadow,
        )
        send = functools.partial(super().apply_async, args, kwargs)
        if cache_max_age is not None:
            options[MAX_AGE] = cache_max_age
        # What can't be a call is Celery's to refuse.
        if is_builtin(type(self)) or not isinstance(options.get("headers") or {}, Mapping):
            read_mode(cache or "use")
            options.pop(MAX_AGE, None)
            return send(**options)
        kind = type(self)._adopted()
        caching = kind._cache_provider.runtime, kind._cache_keyer
        return apply_cached(
            self,
            args,
            kwargs,
            caching=caching,
            mode=cache,
            semantic=cache_semantic,
            send=send,
            options=options,
        )

    def push_request(self, /, *args: Any, **kwargs: Any) -> None:
        """Push a request as Celery does; that of a direct call has the context in force as headers.

        The keys of calls that ``task.cache.call`` and ``task.map`` run contain it (promise K3).
        """
        if not args and not self.request.headers:
            kwargs.setdefault(
                "headers", context.visible_headers(context.inherited_context()) or None
            )
        super().push_request(*args, **kwargs)

    def add_to_chord(self, sig: Signature, lazy: bool = False) -> Any:
        """Add to the chord as Celery does, and don't store the result: a hit would add nothing."""
        setattr(self.request, UNSTORED, "adds-to-chord")
        return super().add_to_chord(sig, lazy)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the task. A direct call is a plain function call, uncached."""
        return super().__call__(*args, **kwargs)


def is_builtin(task: type) -> bool:
    """Whether a task class is one of Celery's own or of this library's.

    An app's ``task_cls`` is their base, too, and they run for their effects: they make groups and
    chords, clean up results, invalidate entries.
    """
    return task.__module__.startswith(("celery.", "tta_taskcache."))


def _add_django(kind: type[CachedTask]) -> None:
    """Add Celery's Django task (``delay_on_commit``) to a function's task, if the app uses it."""
    own = vars(kind)
    if not own.get("_decorated"):
        return  # a class names its bases itself, in plain Celery too
    app_class = own["app"].Task
    module = sys.modules.get("celery.contrib.django.task")
    django: type[Task] | None = getattr(module, "DjangoTask", None)
    if django is not None and issubclass(app_class, django) and not issubclass(kind, django):
        kind.__bases__ = (*kind.__bases__, django)


def _pool_site(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a ``__call__``, the user's or Celery's, into the pool site."""

    @functools.wraps(call)
    def site(self: CachedTask, /, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly or request.get(_PASSED) or is_builtin(type(self)):
            return call(self, *args, **kwargs)
        setattr(request, _PASSED, True)
        run = _run_of(self) if call is CachedTask.__call__ else functools.partial(call, self)
        return answer_or_run(self, run, args, kwargs)

    # Itself: a wrapper around it has a copy of the attribute.
    site._taskcache_site = site  # type: ignore[attr-defined]
    return site


def _run_of(task: CachedTask) -> Callable[..., Any]:
    """What runs a task whose ``__call__`` is ours: that of a class mixed in behind, or its body."""
    behind: Callable[..., Any] = super(CachedTask, task).__call__
    # Celery's own would push a second request, and lose the first one's children.
    is_celerys = getattr(behind, "__func__", None) is Task.__call__
    return task.run if is_celerys else behind
