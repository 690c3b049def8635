"""``CachedTask``: the task base class, and the pool site."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery, Task
from celery.canvas import Signature
from celery.result import AsyncResult

from ...core.keys import Keyer
from ...core.policy import Policy
from ..calls import context
from ..calls.call_request import Mode, is_builtin, read_mode
from ..config.options import read_keyer
from ..config.runtime import Runtime
from ..sites.pool import UNSTORED, answer_or_run
from ..sites.producer import apply_cached
from .task_cache import TaskCache, cache_of
from .task_handle import TaskHandle

#: Set on a request that the pool site has seen: what is called under it is called directly.
_PASSED = "taskcache_passed"


class CachedTask(Task):
    """Base class of cached tasks: ``@app.task(base=CachedTask, cache_ttl=3600)``.

    The options are plain task attributes, so class attributes, inheritance and Celery's
    ``task_annotations`` all work. A wrong one raises ``ConfigurationError`` where the task is
    defined. ``Policy`` describes each.
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
    cache_max_bytes: Any = None
    cache_key: Any = None
    cache_ignore: Any = None
    cache_vary: Any = None
    cache_tags: Any = None
    cache_coalesce: Any = None
    cache_version: Any = None
    cache_serializer: Any = None
    cache_compression: Any = None
    cache_warm: Any = None
    cache_sites: Any = None
    cache_cost: Any = None
    cache_verify: Any = None
    cache_shadow: Any = None
    cache_enabled: Any = None

    _cache_keyer: Keyer

    def __class_getitem__(cls, _: Any) -> type[CachedTask]:
        """``CachedTask[[int], str]`` is for type checkers: the class itself."""
        return cls

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _add_django(cls)
        read_keyer(cls, default_ttl=1.0)
        # A __call__ of the user's (Flask's app context, say) runs only when the task does.
        call = cls.__call__
        if not getattr(call, "_taskcache_site", False):
            cls.__call__ = _pool_site(call)  # type: ignore[method-assign]  # as Celery does

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Install the cache on the app, with the options as annotations may have changed them."""
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
        return self.taskcache().runtime

    @property
    def cache_policy(self) -> Policy:
        """The ``cache_*`` options of this task, validated."""
        return self.cache_keyer.policy

    @property
    def cache_keyer(self) -> Keyer:
        """What computes the keys of this task's calls."""
        cls = type(self)
        app = cls._get_app()  # binds a task class that wasn't used yet
        if not hasattr(cls, "_cache_keyer"):  # another thread is at it
            cache_of(app).adopt(cls)
        return cls._cache_keyer

    @property
    def cache(self) -> TaskHandle:
        """The cache as seen from this task, for direct use."""
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
        **options: Any,
    ) -> AsyncResult:
        """Call the task; answer from the cache when it can be, without sending a message.

        Args:
            cache: ``"use"`` (default); ``"refresh"``: run, and replace what is stored;
                ``"bypass"``: run, and leave the cache alone; ``"only"``: answer from the cache or
                raise.

        All else is as in Celery.

        Returns:
            The result, with ``cache_status``.

        Raises:
            CacheMiss: With ``cache="only"``, when there is no entry.
            ValueError: ``cache`` is none of these.
        """
        options.update(
            task_id=task_id,
            producer=producer,
            link=link,
            link_error=link_error,
            shadow=shadow,
        )
        send = functools.partial(super().apply_async, args, kwargs)
        # What can't be a call is Celery's to refuse.
        if is_builtin(type(self)) or not isinstance(options.get("headers") or {}, Mapping):
            read_mode(cache or "use")
            return send(**options)
        return apply_cached(self, args, kwargs, mode=cache, send=send, options=options)

    def push_request(self, /, *args: Any, **kwargs: Any) -> None:
        """As Celery's, for direct calls: these see the context in force, as messages would.

        It is in the keys of what ``task.cache.call`` and ``task.map`` run (promise K3).
        """
        if not args and not self.request.headers:
            kwargs.setdefault(
                "headers", context.visible_headers(context.inherited_context()) or None
            )
        super().push_request(*args, **kwargs)

    def add_to_chord(self, sig: Signature, lazy: bool = False) -> Any:
        """Add to the chord as in Celery; the result isn't stored: an answer would add nothing."""
        setattr(self.request, UNSTORED, "adds-to-chord")
        return super().add_to_chord(sig, lazy)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the task. Called directly, it is a plain function call, uncached."""
        return super().__call__(*args, **kwargs)


def _add_django(kind: type[CachedTask]) -> None:
    """Where an app's tasks are Django's, a function's cached task is, too: ``delay_on_commit``."""
    own = vars(kind)
    if not own.get("_decorated"):
        return  # no function's: plain Celery gives a class what it names itself
    app_class = own["app"].Task
    module = sys.modules.get("celery.contrib.django.task")
    django: type[Task] | None = getattr(module, "DjangoTask", None)
    if django is not None and issubclass(app_class, django) and not issubclass(kind, django):
        kind.__bases__ = (*kind.__bases__, django)


def _pool_site(call: Callable[..., Any]) -> Callable[..., Any]:
    """Put the pool site around a ``__call__``, the user's or Celery's."""

    @functools.wraps(call)
    def site(self: CachedTask, /, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly or request.get(_PASSED) or is_builtin(type(self)):
            return call(self, *args, **kwargs)
        setattr(request, _PASSED, True)
        run = _run_of(self) if call is CachedTask.__call__ else functools.partial(call, self)
        return answer_or_run(self, run, args, kwargs)

    site._taskcache_site = True  # type: ignore[attr-defined]
    return site


def _run_of(task: CachedTask) -> Callable[..., Any]:
    """What runs a task whose ``__call__`` is ours: that of a class mixed in behind, or its body."""
    behind: Callable[..., Any] = super(CachedTask, task).__call__
    # Celery's own would push a second request, and lose the first one's children.
    is_celerys = getattr(behind, "__func__", None) is Task.__call__
    return task.run if is_celerys else behind
