"""The timeouts of a Redis result backend, in a process whose event loop would wait for it."""

from __future__ import annotations

from typing import Any

from celery import signals

#: Connection parameters of Celery's Redis backends, and their values before this process changed
#: them.
_changed: list[tuple[dict[str, Any], dict[str, Any]]] = []


def shorten_timeouts(backend: Any, most: float) -> None:
    """Bound the timeouts of a Redis backend (120 s by default) in this process, not its children.

    Args:
        backend: The backend; any but Redis' stays as it is.
        most: Seconds.
    """
    parameters = getattr(backend, "connparams", None)
    if not isinstance(parameters, dict) or any(parameters is known for known, _ in _changed):
        return
    _changed.append((parameters, dict(parameters)))
    for name in ("socket_timeout", "socket_connect_timeout"):
        parameters[name] = min(parameters.get(name) or most, most)


@signals.worker_process_init.connect
def _restore_timeouts(**_: Any) -> None:
    """Restore the user's timeouts in a pool process, which was forked from this one."""
    while _changed:
        parameters, before = _changed.pop()
        parameters.clear()
        parameters.update(before)
