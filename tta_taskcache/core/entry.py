"""Entries: stored results with what is known of them, and their bytes.

A frame is ``magic, version, signature, length of the head, head (JSON), payload``. The head begins
with the entry's birth and ``served_above_ms``, where ``take.lua`` reads them, and ends with a
digest of the payload. The signature (keyed BLAKE2b, 128 bits) covers key and head, and so all:
bytes that were cut, altered, copied to another key or read from a confused connection are never an
entry (promise R4). Listings verify a head without reading its payload (promise X2).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from sys import getsizeof
from typing import Any

from ..errors import EntryError

MAGIC = b"\xc2TC"
FORMAT = 5
_HEADER = struct.Struct(">3sB16sI")

#: No figure of an entry is larger: a time in microseconds, a sequence number, a cost.
MAX_FIGURE = 2**63

#: Bytes of an entry's figures, of its position, and of what a map needs for its place.
_FIGURES, _PLACE = 7 * 24 + 48, 200


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the invalidation log: its incarnation and sequence number."""

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
        """Bytes, about what the entry takes in memory: all of it, its marks and traits included."""
        texts = (self.key, self.task_id or "", self.traits, *self.marks)
        held = sum(map(getsizeof, texts)) + getsizeof(self.payload) + getsizeof(self.marks)
        # Each block of the allocator's is rounded up, by 8 bytes on average.
        return held + 8 * (len(texts) + 2) + getsizeof(self) + _FIGURES + _PLACE


def _sign(key: str, head: bytes, secret: bytes) -> bytes:
    digest = hashlib.blake2b(key=secret, digest_size=16)
    digest.update(b"%d %d:%s" % (len(head), len(key), key.encode()))
    digest.update(head)
    return digest.digest()


def _digest(payload: bytes) -> str:
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


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
            _digest(entry.payload),
        ],
        separators=(",", ":"),
    ).encode("ascii")
    signature = _sign(entry.key, head, secret)
    return _HEADER.pack(MAGIC, FORMAT, signature, len(head)) + head + entry.payload


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
    end = _HEADER.size + head_size
    head, payload = frame[_HEADER.size : end], frame[end:]
    if len(head) < head_size:
        raise EntryError("corrupt", "it is cut")
    if not hmac.compare_digest(signature, _sign(key, head, secret)):
        raise EntryError("signature", "the bytes don't fit the key and the secret")
    try:
        entry, digest = _read(key, head, payload)
    except (ValueError, TypeError, RecursionError) as error:
        raise EntryError("corrupt", f"its head: {error}") from None
    if digest != _digest(payload):
        raise EntryError("signature", "the payload doesn't fit its head")
    return entry


#: As many bytes of a frame as ``peek`` needs of most; ``head_end`` says how many of the others.
PEEK_BYTES = 4096

#: A head with as many tags as a call may have isn't longer.
MAX_HEAD_BYTES = 1024 * 1024

#: A frame's first bytes: with the signature, they tell it from every other.
HEADER_BYTES = _HEADER.size


def head_end(start: bytes) -> int:
    """Where the head of a frame ends, by its first bytes; 0 for what isn't an entry."""
    if len(start) < HEADER_BYTES:
        return 0
    magic, version, _, head_size = _HEADER.unpack_from(start)
    is_entry = (magic, version) == (MAGIC, FORMAT) and head_size <= MAX_HEAD_BYTES
    return HEADER_BYTES + int(head_size) if is_entry else 0


def peek(key: str, start: bytes, secret: bytes | None = None) -> Entry | None:
    """Read the head of a frame from its first bytes.

    Args:
        key: The key that it was found under.
        start: The first bytes.
        secret: What signed it, empty for a plain checksum; None verifies nothing.

    Returns:
        The entry without its payload, or None for what isn't an entry.
    """
    try:
        magic, version, signature, head_size = _HEADER.unpack_from(start)
        head = start[_HEADER.size : _HEADER.size + head_size]
        if (magic, version, len(head)) != (MAGIC, FORMAT, head_size):
            return None
        if secret is not None and not hmac.compare_digest(signature, _sign(key, head, secret)):
            return None
        return _read(key, head, b"")[0]
    except (struct.error, ValueError, TypeError, RecursionError):
        return None


@lru_cache(maxsize=1024)
def _shared(text: str) -> str:
    """One object for all entries that hold the same: names of tasks, serializers, incarnations."""
    return text


def _check(*, is_text: Iterable[Any] = (), is_figure: Iterable[Any] = ()) -> None:
    """Refuse what isn't text, or no figure that can be added up.

    Raises:
        TypeError: One is of another type.
        ValueError: A figure is negative, too large or not finite.
    """
    if not all(isinstance(each, str) for each in is_text):
        raise TypeError("something is no text")
    for figure in is_figure:
        if isinstance(figure, bool) or not isinstance(figure, (int, float)):
            raise TypeError(f"{figure!r:.40} is no figure")
        if not 0 <= figure <= MAX_FIGURE:
            raise ValueError(f"{figure!r:.40} is out of bounds")


def _read(key: str, head: bytes, payload: bytes) -> tuple[Entry, str]:
    """The entry, and the digest that its payload is to have."""
    incarnation, sequence, above, task, task_id, *rest = json.loads(head)
    at, lifetime, fresh_for, is_failure, run, cost, marks, serializer, zipped, traits, digest = rest
    # Whoever can write there may have made it: what is no figure here is none anywhere after.
    _check(is_text=(incarnation, task, serializer, traits, digest, *marks))
    _check(is_text=(text for text in (task_id, zipped) if text is not None))
    _check(is_figure=(sequence, above, at, lifetime, fresh_for, run, cost))
    if not isinstance(marks, list) or not isinstance(is_failure, bool):
        raise TypeError("it holds something else than it should")
    if not isinstance(sequence, int) or not isinstance(above, int):
        raise TypeError("a position is a whole number")
    entry = Entry(
        key=key,
        task=_shared(task),
        task_id=task_id,
        created_at=at,
        lifetime=lifetime,
        fresh_for=fresh_for,
        served_above_ms=above,
        is_failure=is_failure,
        run_seconds=run,
        cost=cost,
        born=Position(_shared(incarnation), sequence),
        marks=tuple(marks),
        serializer=_shared(serializer),
        compression=zipped,
        payload=payload,
        traits=traits,
    )
    return entry, digest
