"""Remote control of workers: ``celery inspect taskcache``, ``celery control taskcache_disable``.

Celery's registry is global: importing this module registers the commands, in the worker that obeys
them and in the ``celery`` command that offers them.
"""

from __future__ import annotations

import logging
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from celery.worker.control import control_command, inspect_command

from ...core.entries.entry import FORMAT
from ...core.identity.keys import KEY_FORMAT
from ...observability.logs import log_fields
from ...stores.wrappers.breaker import GuardedStore
from ..api.task_cache import cache_of
from ..calls.call_request import is_cached
from ..config.settings import NAMES
from ..patches.app.control_methods import add_control_method, add_inspect_method

logger = logging.getLogger("tta_taskcache")

#: Settings that hold a password or are a secret.
_SECRET = ("url", "secret")

#: Attribute of Celery's consumer that holds the consumer site.
SITE = "taskcache_site"


def library_version() -> str:
    """Return the version of the library; empty where it isn't installed as a package."""
    try:
        return version("tta-taskcache")
    except PackageNotFoundError:
        return ""


def about_library() -> dict[str, Any]:
    """Return the versions that processes have to agree on to share entries."""
    return {"version": library_version(), "entry_format": FORMAT, "key_format": KEY_FORMAT}


@inspect_command(name="taskcache")
def inspect_cache(state: Any, **_: Any) -> dict[str, Any]:
    """The result cache of this worker: version, store, memory, followers, settings."""
    runtime = cache_of(state.app).runtime
    store, site = runtime.store, getattr(state.consumer, SITE, None)
    breaker = store.breaker if isinstance(store, GuardedStore) else None
    entries = runtime.engine.parts.l1.entries
    settings = {name: getattr(runtime.settings, name) for name in NAMES}
    # What is sent is JSON.
    settings["observers"] = [str(observer) for observer in runtime.settings.observers]
    return {
        **about_library(),
        "python": platform.python_version(),
        "store": store.name,
        "circuit": "open" if breaker is not None and breaker.is_open else "closed",
        "disabled": site is not None and site.is_disabled,
        "cached_tasks": sorted(name for name, task in state.app.tasks.items() if is_cached(task)),
        # Of the main process; each process of the pool has a memory of its own.
        "l1": {"entries": len(entries), "bytes": entries.size},
        "followers": site.following if site is not None else 0,
        "settings": {name: value for name, value in settings.items() if name not in _SECRET},
    }


@control_command(name="taskcache_disable")
def disable(state: Any, **_: Any) -> dict[str, str]:
    """Let this worker run every call, and store nothing, until it is enabled or restarted."""
    return _switch(state, disabled=True)


@control_command(name="taskcache_enable")
def enable(state: Any, **_: Any) -> dict[str, str]:
    """Let this worker use the cache again."""
    return _switch(state, disabled=False)


def _switch(state: Any, *, disabled: bool) -> dict[str, str]:
    site: Any = getattr(state.consumer, SITE, None)
    if site is None:
        return {"error": "this worker has no result cache"}
    state_now = f"the cache is {'disabled' if disabled else 'enabled'} here"
    if site.is_disabled is not disabled:
        site.is_disabled = disabled
        about = log_fields("Switched", disabled=disabled)
        logger.warning("%s, by remote control", state_now, extra=about)
    return {"ok": state_now}


add_inspect_method("taskcache")
add_control_method("taskcache_disable")
add_control_method("taskcache_enable")
