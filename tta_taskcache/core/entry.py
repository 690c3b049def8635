"""Entries: stored results with what is known of them, and their bytes.

A frame is ``magic, version, signature, length of the head, head (JSON), payload``. The head begins
with the entry's birth and ``served_above_ms``, where ``take.lua`` reads them. The signature
(keyed BLAKE2b, 128 bits) covers the key too: bytes that were cut, altered, copied to another key or
read from a confused connection are never an entry (promise R4).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass

from ..errors import EntryError

MAGIC = b"\xc2TC"
FORMAT = 5
_HEADER = struct.Struct(">3sB16sI")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the invalidation log: its incarnation and sequence number.

    Numbers only rise. An incarnation never goes on after its tail may have been lost, so that no
    position is given twice (promise I6).
    """

    incarnation: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A stored result.

    Attributes:
        key: The call's key.
        task: The task's name.
        task_id: Id of the task that computed it, or None.
        created_at: When, by the clock of the computing process (Unix seconds; for display only).
        lifetime: Seconds it was stored for.
        fresh_for: Seconds of those that it is fresh; then it is stale.
        served_above_ms: While more milliseconds than these remain, it is served without a run,
            stale or not.
        is_failure: Whether the payload is an exception that is remembered.
        run_seconds: How long the computation took.
        cost: What it cost, in the user's unit.
        born: The log's position from before the computation.
        marks: The names of the log's marks that end this entry.
        serializer: Name of its serializer.
        compression: Name of its compressor, or None.
        payload: The serialized result.
        traits: Short digests of what identifies its call (see ``core.traits``).
    """

    key: str
    task: str
    task_id: str | None
    created_at: float
    lifetime: float
    fresh_for: float
    served_above_ms: int = 0
    is_failure: bool = False
    run_seconds: float
    cost: float = 0.0
    born: Position
    marks: tuple[str, ...]
    serializer: str
    compression: str | None
    payload: bytes
    traits: str = ""

    @property
    def size(self) -> int:
        """Bytes, about what the entry takes in memory."""
        return len(self.payload) + len(self.key) + 512


def _sign(key: str, head_size: int, body: bytes, secret: bytes) -> bytes:
    digest = hashlib.blake2b(key=secret, digest_size=16)
    digest.update(b"%d %d:%s" % (head_size, len(key), key.encode()))
    digest.update(body)
    return digest.digest()


def pack(entry: Entry, secret: bytes = b"") -> bytes:
    """Make the frame of an entry."""
    head = json.dumps(
        [
            entry.born.incarnation,
            entry.born.sequence,
            entry.served_above_ms,
            entry.task,
            entry.task_id,
            entry.created_at,
            entry.lifetime,
            entry.fresh_for,
            entry.is_failure,
            entry.run_seconds,
            entry.cost,
            entry.marks,
            entry.serializer,
            entry.compression,
            entry.traits,
        ],
        separators=(",", ":"),
    ).encode("ascii")
    body = head + entry.payload
    signature = _sign(entry.key, len(head), body, secret)
    return _HEADER.pack(MAGIC, FORMAT, signature, len(head)) + body


def unpack(key: str, frame: bytes, secret: bytes = b"") -> Entry:
    """Read a frame that was found under ``key``.

    Raises:
        EntryError: It isn't an entry for this key, or not one this version can read.
    """
    if len(frame) < _HEADER.size:
        raise EntryError("corrupt", "shorter than a header")
    magic, version, signature, head_size = _HEADER.unpack_from(frame)
    if magic != MAGIC:
        raise EntryError("corrupt", "not an entry")
    if version != FORMAT:
        raise EntryError("format", f"version {version}, this process reads {FORMAT}")
    body = frame[_HEADER.size :]
    if not hmac.compare_digest(signature, _sign(key, head_size, body, secret)):
        raise EntryError("signature", "the bytes don't fit the key and the secret")
    try:
        return _read(key, body, head_size)
    except (ValueError, TypeError, RecursionError) as error:
        raise EntryError("corrupt", f"its head: {error}") from None


#: As many bytes of a frame as ``peek`` needs, but for entries with very many marks.
PEEK_BYTES = 4096

#: A frame's first bytes: with the signature, they tell it from every other.
HEADER_BYTES = _HEADER.size


def peek(key: str, start: bytes) -> Entry | None:
    """Read the head of a frame from its first bytes, for listings: nothing is verified.

    Returns:
        The entry without its payload, or None for what isn't an entry.
    """
    try:
        magic, version, _, head_size = _HEADER.unpack_from(start)
        head = start[_HEADER.size : _HEADER.size + head_size]
        return _read(key, head, head_size) if (magic, version) == (MAGIC, FORMAT) else None
    except (struct.error, ValueError, TypeError, RecursionError):
        return None


def _read(key: str, body: bytes, head_size: int) -> Entry:
    incarnation, sequence, above, task, task_id, *rest = json.loads(body[:head_size])
    at, lifetime, fresh_for, is_failure, run, cost, marks, serializer, zipped, traits = rest
    return Entry(
        key=key,
        task=task,
        task_id=task_id,
        created_at=at,
        lifetime=lifetime,
        fresh_for=fresh_for,
        served_above_ms=above,
        is_failure=is_failure,
        run_seconds=run,
        cost=cost,
        born=Position(incarnation, sequence),
        marks=tuple(marks),
        serializer=serializer,
        compression=zipped,
        payload=body[head_size:],
        traits=traits,
    )
