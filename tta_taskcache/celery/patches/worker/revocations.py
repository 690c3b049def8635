"""Revoked calls, as far as a process can know of them: the producer doesn't answer these.

Only workers know which calls were revoked. A process knows what it has revoked itself, and a
worker's process what its worker has received. Such a call is sent, for the worker to refuse.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

from celery.app.control import Control
from celery.utils.collections import LimitedSet
from celery.utils.functional import maybe_list

#: Revocations that a process remembers, and seconds for which: as workers do by default.
MAXIMUM, EXPIRES = 50_000, 10_800

#: Ids, and pairs of a stamp's name and its value's repr.
_revoked = LimitedSet(maxlen=MAXIMUM, expires=EXPIRES)

_broadcast = Control.broadcast


def is_revoked(options: Mapping[str, Any]) -> bool:
    """Whether this process knows that a call with these options was revoked."""
    worker = sys.modules.get("celery.worker.state")
    task_id = options.get("task_id")
    if task_id in _revoked or (worker is not None and task_id in worker.revoked):
        return True
    theirs = worker.revoked_stamps if worker is not None else {}
    return any(
        (name, repr(value)) in _revoked or value in (maybe_list(theirs.get(name)) or ())
        for name in options.get("stamped_headers") or ()
        for value in maybe_list(options.get(name)) or ()
    )


def record(command: str, arguments: Mapping[str, Any]) -> None:
    """Record the calls that a control command revokes."""
    if command in ("revoke", "terminate"):
        for task_id in maybe_list(arguments.get("task_id")) or ():
            _revoked.add(task_id)
    elif command == "revoke_by_stamped_headers":
        headers = arguments.get("headers") or {}
        if not isinstance(headers, Mapping):  # as on the command line
            headers = dict(each.split("=", 1) for each in headers)
        for name, values in headers.items():
            for value in maybe_list(values) or ():
                _revoked.add((name, repr(value)))


@functools.wraps(_broadcast)
def broadcast(
    self: Control, command: str, arguments: Mapping[str, Any] | None = None, *args: Any, **more: Any
) -> Any:
    """``Control.broadcast``, which records revocations."""
    record(command, {**(arguments or {}), **more})
    return _broadcast(self, command, arguments, *args, **more)


def install() -> None:
    """Replace ``Control.broadcast``, once."""
    Control.broadcast = broadcast
