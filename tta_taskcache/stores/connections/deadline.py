"""The deadline of an operation on Redis: names, connecting, every byte and every retry (F5).

redis-py bounds each wait by itself: a reply that trickles in, or a name server that hangs, takes as
long as it likes. Here each wait gets what remains of the operation's time.
"""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic
from typing import Any
from weakref import ref

import redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

#: Calls of sockets, none of which waits, that still read and send when an operation is over: it may
#: be this process that was late.
LATE_CALLS = 16


@dataclass(slots=True, weakref_slot=True)
class _Deadline:
    """The deadline of an operation (monotonic seconds), and calls of sockets since then."""

    end: float
    late: int = 0

    def left(self) -> float:
        """Return the seconds that remain, 0 or more."""
        return max(0.0, self.end - monotonic())

    def left_for_socket(self) -> float:
        """Return the seconds that remain for a socket, which doesn't wait with 0.

        Raises:
            TimeoutError: It is over, for this process as well.
        """
        left = self.left()
        if left == 0:
            self.late += 1
            if self.late > LATE_CALLS:
                raise _over()
        return left


#: The deadline of this thread's or greenlet's operation. Weak: a soft time limit may strike on the
#: way out of ``within``, and the deadline left behind must not bound the next command.
_current: ContextVar[ref[_Deadline] | None] = ContextVar("taskcache_deadline", default=None)


def _deadline() -> _Deadline | None:
    current = _current.get()
    return None if current is None else current()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound the operations of a block to so many seconds. Blocks aren't nested."""
    deadline = _Deadline(monotonic() + seconds)
    try:
        _current.set(ref(deadline))
        yield
    finally:
        _current.set(None)


def _over() -> TimeoutError:
    return TimeoutError("the operation's time is over")


def remaining(most: float | None) -> float | None:
    """Return the seconds that a wait may take, at most so many.

    Raises:
        TimeoutError: The operation's time is over.
    """
    deadline = _deadline()
    if deadline is None:
        return most
    left = deadline.left()
    if left == 0:
        raise _over()
    return left if most is None else min(most, left)


#: Errors of a non-blocking socket that would have to wait.
_WOULD_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _TimedSocket:
    """A socket each of whose waits ends with the operation."""

    def __init__(self, sock: Any, timeout: float | None) -> None:
        self._sock = sock
        self._timeout = timeout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds
        self._sock.settimeout(seconds)

    def _do(self, act: Callable[..., Any], *args: Any) -> Any:
        deadline, most = _deadline(), self._timeout
        if deadline is None or most == 0:  # redis-py sees whether there is anything to read
            self._sock.settimeout(most)
            return act(*args)
        left = deadline.left_for_socket()
        self._sock.settimeout(left if most is None else min(most, left))
        try:
            return act(*args)
        except _WOULD_WAIT:
            raise _over() from None

    def recv(self, *args: Any) -> Any:
        return self._do(self._sock.recv, *args)

    def recv_into(self, *args: Any) -> Any:
        return self._do(self._sock.recv_into, *args)

    def sendall(self, data: Any) -> None:
        self._do(self._sock.sendall, data)


class Timed:
    """Mixin of connections that connect, send and receive within the deadline."""

    socket_timeout: float | None
    _socket_connect_timeout: float | None

    @property
    def socket_connect_timeout(self) -> float | None:
        return remaining(self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, seconds: float | None) -> None:
        self._socket_connect_timeout = seconds

    def _connect(self) -> Any:
        return _TimedSocket(super()._connect(), self.socket_timeout)  # type: ignore[misc]


class _Dialed(Connection):
    """A connection by host name, which is resolved within the deadline, too.

    The last base of a class: TLS, which checks that a certificate is for the name, is above it.
    """

    def _connect(self) -> Any:
        name = self.host
        error = OSError(f"{name} has no address")
        for address in _addresses(name):
            self.host = address
            try:
                sock = super()._connect()
            except TimeoutError:
                raise
            except OSError as fault:
                error = fault
            else:
                sock.settimeout(remaining(self.socket_timeout))  # for the handshake of TLS
                return sock
            finally:
                self.host = name
        raise error


class TimedConnection(Timed, _Dialed):
    """A connection to a server."""


class TimedSSLConnection(Timed, SSLConnection, _Dialed):
    """A connection to a server, with TLS."""


class TimedUnixConnection(Timed, UnixDomainSocketConnection):
    """A connection to a server, by a Unix socket."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.socket_timeout = options.get("socket_timeout")  # redis-py 5.0.0 and 5.0.1 forget it


_TIMED = {Connection: TimedConnection, SSLConnection: TimedSSLConnection}


def timed(client: redis.Redis) -> redis.Redis:
    """Let the new connections of redis-py's client keep to the deadline; return the client."""
    pool: Any = client.connection_pool
    pool.connection_class = _TIMED.get(pool.connection_class, pool.connection_class)
    return client


class _Resolution:
    """The resolution of one name, for all threads that wait for it."""

    def __init__(self, name: str) -> None:
        self.addresses: list[str] = []
        self.error: OSError | None = None
        self.done = threading.Event()
        self._name = name

    def run(self) -> None:
        try:
            found = socket.getaddrinfo(self._name, None, 0, socket.SOCK_STREAM)
            self.addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
        except OSError as error:
            self.error = error
        finally:
            _resolving.pop(self._name, None)
            self.done.set()


def _forget_threads() -> None:
    _resolving.clear()  # they are the parent's


os.register_at_fork(after_in_child=_forget_threads)

#: Resolutions by name: a name server that hangs keeps one thread per name, not one per caller.
_resolving: dict[str, _Resolution] = {}


def _addresses(name: str) -> list[str]:
    """Resolve a name.

    Raises:
        OSError: It can't be resolved, or not in time.
    """
    if _deadline() is None or _is_address(name):
        return [name]
    mine = _Resolution(name)
    resolution = _resolving.setdefault(name, mine)
    if resolution is mine:
        threading.Thread(target=mine.run, name="taskcache-resolve", daemon=True).start()
    if not resolution.done.wait(remaining(None)):
        raise TimeoutError(f"{name} wasn't resolved in time")
    if resolution.error is not None:
        raise resolution.error
    return resolution.addresses


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
