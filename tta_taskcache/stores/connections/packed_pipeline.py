"""Pipelines of one server, packed and parsed here: a third of what redis-py's cost.

redis-py's pool, packing and parser in Python take longer than the server and the loopback together.
Connections and their pool are redis-py's own, so names, TLS, passwords and the log's opening are as
ever. Of a connection that wasn't left clean, what is unread is looked for before it is used again.
"""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from .deadline import TimedConnection, TimedSSLConnection, TimedUnixConnection
from .resp import CHUNK, Incomplete, Refusal, pack, parse

#: Options of a URL that only redis-py's own packing follows.
_OPTIONS_OF_REDIS_PY = frozenset(("encoding", "encoding_errors"))


#: Most bytes of a reply that is remembered.
MOST_REMEMBERED = 1024

#: What no reply begins with.
_NO_REPLY = b"\n"


class Replies:
    """Mixin of connections: sends packed commands, and reads their replies.

    Attributes:
        is_clean: Whether all replies were read of what was sent last.
        is_exchanging: Whether an exchange has begun and hasn't ended: its replies may still come.
    """

    is_clean = False
    is_exchanging = False
    socket_timeout: float | None
    _sock: Any
    _parser: Any

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send, as redis-py does; what it reads by itself isn't known to be read to the end."""
        self.is_clean = False
        super().send_packed_command(*args, **kwargs)  # type: ignore[misc]  # of the connection

    def exchange(self, request: bytes, readers: Sequence[ReplyReader | None]) -> list[Any]:
        """Send packed commands, and return their replies; errors among them are exceptions.

        Args:
            request: The commands.
            readers: For each command, what reads its reply if redis-py's is another.

        Raises:
            redis.RedisError: The server can't be reached, is too late, or is still loading.
        """
        self.is_exchanging = True
        try:
            self.send_packed_command((request,))  # which connects first
            replies = self.read_replies(readers)
        except TimeoutError:
            self.disconnect()  # type: ignore[attr-defined]
            raise redis.TimeoutError("Timeout reading from socket") from None
        except OSError as error:
            self.disconnect()  # type: ignore[attr-defined]
            raise redis.ConnectionError(f"Error while reading from socket: {error}") from None
        except BaseException:
            self.disconnect()  # type: ignore[attr-defined]
            raise
        self.is_clean, self.is_exchanging = True, False
        return replies

    def clean(self) -> None:
        """Disconnect if there is anything left to read, as redis-py does, or still to come.

        An exchange that was interrupted has disconnected, unless a second interruption struck.
        """
        try:
            is_unread = self.is_exchanging or (self._sock is not None and self.can_read())  # type: ignore[attr-defined]
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            is_unread = True
        if is_unread:
            self.disconnect()  # type: ignore[attr-defined]
        self.is_exchanging = False

    def read_replies(self, readers: Sequence[ReplyReader | None]) -> list[Any]:
        """Read a reply for each reader; errors among them are exceptions.

        Raises:
            OSError: The connection has failed, or is too late.
            redis.ConnectionError: The server has closed it, or is still loading.
        """
        receive = self._sock.recv
        replies: list[Any] = []
        data, at = receive(CHUNK), 0
        while data:
            try:
                for reader in readers[len(replies) :]:
                    if reader is not None:
                        reply, at = reader.read(data, at)
                    else:
                        reply, at = parse(data, at)
                    replies.append(self._error(reply) if type(reply) is Refusal else reply)
            except Incomplete as more:
                chunks, missing = [data[at:]], more.missing
                while missing > 0 and (chunk := receive(max(missing, CHUNK))):
                    chunks.append(chunk)
                    missing -= len(chunk)
                if missing > 0:
                    break
                data, at = b"".join(chunks), 0
            else:
                return replies
        raise redis.ConnectionError("Connection closed by server.")

    def _error(self, text: str) -> redis.ResponseError:
        """Return an error as redis-py knows it.

        Raises:
            redis.ConnectionError: The server is still loading.
        """
        error: Exception = self._parser.parse_error(str(text))
        if isinstance(error, redis.ResponseError):
            return error
        raise error


class ReplyReader:
    """Reads replies to one command, and remembers the last one: most are equal to it.

    Args:
        convert: Makes of a reply what redis-py makes of it.
    """

    __slots__ = ("_convert", "_last")

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert
        self._last: tuple[bytes, Any] = (_NO_REPLY, None)

    def read(self, data: bytes, at: int) -> tuple[Any, int]:
        """Read a reply, as ``parse`` does. It may be an object that was returned before."""
        known, reply = self._last
        if data.startswith(known, at):
            return reply, at + len(known)
        reply, end = parse(data, at)
        if type(reply) is not Refusal:
            reply = self._convert(reply)
            if end - at <= MOST_REMEMBERED:
                self._last = (data[at:end], reply)
        return reply, end


class PackedConnection(Replies, TimedConnection):
    """A connection to a server."""


class PackedSSLConnection(Replies, TimedSSLConnection):
    """A connection to a server, with TLS."""


class PackedUnixConnection(Replies, TimedUnixConnection):
    """A connection to a server, by a Unix socket."""


class PackedPool(redis.ConnectionPool):
    """redis-py's pool, whose connections serve packed pipelines as well."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fields, self.pairs, self.records = (
            ReplyReader(_as_is),
            ReplyReader(_pairs),
            ReplyReader(_records),
        )

    def take(self) -> Any:
        """Take a connection for a pipeline. Safe for threads and greenlets without a lock.

        Raises:
            redis.ConnectionError: There are as many connections as the URL allows.
        """
        try:
            connection = self._available_connections.pop()
        except IndexError:
            connection = self.make_connection()
        self._in_use_connections.add(connection)
        if not connection.is_clean:
            connection.clean()
        return connection

    def give_back(self, connection: Any) -> None:
        """Give back a connection that ``take`` has returned."""
        self._in_use_connections.discard(connection)
        self._available_connections.append(connection)


def can_pack(options: Mapping[str, Any]) -> bool:
    """Whether a URL has no option that packed pipelines don't follow."""
    return not _OPTIONS_OF_REDIS_PY & options.keys()


class PackedPipeline:
    """A pipeline without a transaction: commands are packed as they are queued.

    It has those of redis-py's methods that exchanges use, and returns the same replies.
    """

    __slots__ = ("_packed", "_pool", "_readers")

    def __init__(self, pool: PackedPool) -> None:
        self._pool = pool
        self._packed: list[bytes] = []
        self._readers: list[ReplyReader | None] = []

    def execute_command(
        self, *arguments: str | bytes | float, reader: ReplyReader | None = None
    ) -> None:
        """Queue a command."""
        self._packed.append(pack(*arguments))
        self._readers.append(reader)

    def get(self, name: str) -> None:
        """Queue ``GET``."""
        self.execute_command("GET", name)

    def pttl(self, name: str) -> None:
        """Queue ``PTTL``."""
        self.execute_command("PTTL", name)

    def set(self, name: str, value: str | bytes, *, px: int, nx: bool = False) -> None:
        """Queue ``SET`` with an expiry in milliseconds; with ``nx`` where there is nothing."""
        self.execute_command("SET", name, value, "PX", px, *(["NX"] if nx else []))

    def delete(self, name: str) -> None:
        """Queue ``DEL``."""
        self.execute_command("DEL", name)

    def hmget(self, name: str, *fields: str) -> None:
        """Queue ``HMGET``."""
        self.execute_command("HMGET", name, *fields, reader=self._pool.fields)

    def hgetall(self, name: str) -> None:
        """Queue ``HGETALL``, whose reply is a dict."""
        self.execute_command("HGETALL", name, reader=self._pool.pairs)

    def xrange(self, name: str, *, min: str, max: str, count: int) -> None:  # noqa: A002 - redis-py's
        """Queue ``XRANGE``, whose reply is a list of ids and dicts."""
        command = ("XRANGE", name, min, max, "COUNT", count)
        self.execute_command(*command, reader=self._pool.records)

    def eval(self, script: str, keys: int, *arguments: str | bytes | float) -> None:
        """Queue ``EVAL``."""
        self.execute_command("EVAL", script, keys, *arguments)

    def evalsha(self, digest: str, keys: int, *arguments: str | bytes | float) -> None:
        """Queue ``EVALSHA``."""
        self.execute_command("EVALSHA", digest, keys, *arguments)

    def execute(self) -> list[Any]:
        """Send the queued commands, and return their replies.

        Raises:
            redis.RedisError: The server can't be reached, is too late, or has refused a command.
        """
        readers = self._readers
        if not readers:
            return []
        request = b"".join(self._packed)
        connection = self._pool.take()
        try:
            replies: list[Any] = connection.retry.call_with_retry(
                lambda: connection.exchange(request, readers), lambda _: connection.disconnect()
            )
        finally:
            self._pool.give_back(connection)
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                raise reply
        return replies


def _as_is(reply: list[Any]) -> list[Any]:
    return reply


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _records(items: list[Any]) -> list[Any]:
    return [(item_id, _pairs(fields)) for item_id, fields in items]
