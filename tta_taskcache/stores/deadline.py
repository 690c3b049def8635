"""One deadline for an operation on Redis: names, connecting, every byte and every retry (F5).

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
    """When an operation is to be over (monotonic seconds), and calls of sockets since then."""

    end: float
    late: int = 0

    def left(self) -> float:
        """Seconds that remain; none are less than 0."""
        return max(0.0, self.end - monotonic())

    def left_for_socket(self) -> float:
        """The same; with 0, a socket doesn't wait.

        Raises:
            TimeoutError: It is over, for this process as well.
        """
        left = self.left()
        if left == 0:
            self.late += 1
            if self.late > LATE_CALLS:
                raise _over()
        return left


#: That of this thread's or greenlet's operation. Weak: a soft time limit may strike on the way out
#: of ``within``, and what it leaves behind then must not bound the next command.
_current: ContextVar[ref[_Deadline] | None] = ContextVar("taskcache_deadline", default=None)


def _deadline() -> _Deadline | None:
    current = _current.get()
    return None if current is None else current()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give all that is done in the block so many seconds. Blocks aren't nested."""
    deadline = _Deadline(monotonic() + seconds)
    try:
        _current.set(ref(deadline))
        yield
    finally:
        _current.set(None)


def _over() -> TimeoutError:
    return TimeoutError("the operation's time is over")


def remaining(most: float | None) -> float | None:
    """Seconds that a wait may take, at most so many.

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


#: Raised by a socket that is not to wait, when it would have to.
_WOULD_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _TimedSocket:
    """A socket each of whose waits ends with the operation."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._timeout = sock.gettimeout()

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


class _Timed:
    """Of a connection: connects, sends and receives within the operation's time."""

    _socket_connect_timeout: float | None

    @property
    def socket_connect_timeout(self) -> float | None:
        return remaining(self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, seconds: float | None) -> None:
        self._socket_connect_timeout = seconds

    def _connect(self) -> Any:
        return _TimedSocket(super()._connect())  # type: ignore[misc]


class Resolved(_Timed):
    """Of a connection by name: the name is resolved within the operation's time, too."""

    _host: str
    _name = ""

    def _connect(self) -> Any:
        self._name, error = self._host, OSError(f"{self._host} has no address")
        for address in _addresses(self._name):
            self._host = address
            try:
                return super()._connect()
            except TimeoutError:
                raise
            except OSError as fault:
                error = fault
            finally:
                self._host = self._name
        raise error

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        # A certificate is for a name.
        address, self._host = self._host, self._name
        try:
            sock.settimeout(remaining(sock.gettimeout()))
            return super()._wrap_socket_with_ssl(sock)  # type: ignore[misc]
        finally:
            self._host = address


class TimedConnection(Resolved, Connection):
    """A connection to a server."""


class TimedSSLConnection(Resolved, SSLConnection):
    """The same, with TLS."""


class TimedUnixConnection(_Timed, UnixDomainSocketConnection):
    """The same, by a socket in the file system."""


_TIMED = {Connection: TimedConnection, SSLConnection: TimedSSLConnection}


def timed(client: redis.Redis) -> redis.Redis:
    """A client that redis-py has made, whose new connections keep to the operation's time."""
    pool: Any = client.connection_pool
    pool.connection_class = _TIMED.get(pool.connection_class, pool.connection_class)
    return client


class _Resolution:
    """One name being resolved, for all who wait for it."""

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

#: A name server that hangs keeps one thread for each name, not one for each caller.
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
