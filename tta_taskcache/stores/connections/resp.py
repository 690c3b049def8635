"""The Redis protocol (RESP 2), as far as pipelines need it: requests to bytes, bytes to replies.

redis-py's packing and its parser in Python take as long as the server takes to answer. Values come
back as bytes, integers, None and lists of these, as redis-py returns them without callbacks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import redis

#: Bytes that are asked of a socket at once.
CHUNK: Final = 65_536

_END: Final = b"\r\n"
_SIMPLE, _ERROR, _INTEGER, _BULK, _ARRAY = b"+-:$*"


def pack(*arguments: str | bytes | float) -> bytes:
    """Pack a command."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if type(argument) is str:
            parts.append(_pack_text(argument))
        else:
            data = argument if isinstance(argument, bytes) else str(argument).encode()
            parts += (b"$%d\r\n" % len(data), data, _END)
    return b"".join(parts)


@lru_cache(maxsize=512)
def _pack_text(text: str) -> bytes:
    # Names of commands, of the log's keys and of marks come again and again.
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


class Incomplete(Exception):
    """More bytes have to come.

    Args:
        missing: Least number of them.
    """

    def __init__(self, missing: int = 1) -> None:
        super().__init__(missing)
        self.missing = missing


class Refusal(str):
    """The text of an error that the server replies with."""

    __slots__ = ()


def parse(data: bytes, at: int) -> tuple[Any, int]:
    """Parse one reply. An error is a ``Refusal``.

    Args:
        data: What was received.
        at: Where the reply begins.

    Returns:
        The reply, and where the next one begins.

    Raises:
        Incomplete: The reply goes on beyond the data.
        redis.InvalidResponse: This is no reply.
    """
    end = data.find(_END, at)
    if end < 0:
        raise Incomplete
    kind, line, begin = data[at], data[at + 1 : end], end + 2
    if kind == _BULK:
        return _bulk(data, int(line), begin)
    if kind == _INTEGER:
        return int(line), begin
    if kind == _ARRAY:
        if (count := int(line)) < 0:
            return None, begin
        items = []
        for _ in range(count):
            item, begin = parse(data, begin)
            items.append(item)
        return items, begin
    if kind == _ERROR:
        return Refusal(line.decode(errors="replace")), begin
    if kind != _SIMPLE:
        raise redis.InvalidResponse(f"Protocol Error: {data[at:end]!r:.80}")
    return line, begin


def _bulk(data: bytes, size: int, begin: int) -> tuple[bytes | None, int]:
    if size < 0:
        return None, begin
    stop = begin + size
    if len(data) < stop + 2:
        raise Incomplete(stop + 2 - len(data))
    return data[begin:stop], stop + 2
