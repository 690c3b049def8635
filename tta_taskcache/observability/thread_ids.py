"""The id of the operating system's thread."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

# gevent and eventlet replace threading.get_ident by the id of a greenlet. Greenlets are many and
# ever new, and each would have numbers of its own; those of one thread take turns anyway.
thread_ident: Callable[[], int] = ctypes.PYFUNCTYPE(ctypes.c_ulong)(
    ("PyThread_get_thread_ident", ctypes.pythonapi)
)
