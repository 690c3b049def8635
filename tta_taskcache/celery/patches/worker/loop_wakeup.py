"""Calling into kombu's event loop from another thread, which kombu itself can from 5.7 on."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class LoopCaller:
    """Has something called in an event loop, from any thread.

    A loop of kombu before 5.7 isn't woken up by ``call_soon``, and sleeps on for up to a second.

    Args:
        hub: The loop.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._pipe: tuple[socket.socket, socket.socket] | None = None
        if not hasattr(hub, "_create_waker"):
            self._pipe = socket.socketpair()
            for end in self._pipe:
                end.setblocking(False)

    def listen(self) -> None:
        """Be heard by the loop: with each connection to the broker, it forgets whom it heard."""
        if self._pipe is not None:
            self._hub.add_reader(self._pipe[0], self._drain, self._pipe[0])

    def call_soon(self, step: Callable[[], None]) -> None:
        """Have something called in the loop."""
        self._hub.call_soon(step)
        if self._pipe is not None:
            with suppress(OSError):  # a full pipe has woken it already
                self._pipe[1].send(b"\0")

    @staticmethod
    def _drain(pipe: socket.socket) -> None:
        with suppress(OSError):
            pipe.recv(4096)
