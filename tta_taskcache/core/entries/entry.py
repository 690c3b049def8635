"""Entries: stored results with their metadata, and their bytes.

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
from functools import lru_cache
from sys import getsizeof
from typing import Any

from ...errors import EntryError
from ..record import record

MAGIC = b"\xc2TC"
FORMAT = 6
_HEADER = struct.Struct(">3sB16sI")

#: The largest figure of an entry: a time in microseconds, a sequence number, a cost.
MAX_FIGURE = 2**63

#: Bytes of an entry's figures and position, and of its place in a map.
_FIGURES, _PLACE = 7 * 24 + 48, 200

#: Most characters of an entity tag.
MAX_ETAG = 1024

#: Most characters of a W3C traceparent; today's version has 55.
MAX_TRACE = 64


@record
class Position:
    """A place in the invalidation log: its incarnation and sequence number.

    Numbers only rise. An incarnation never goes on after its tail may have been lost, so that no
    position is given twice (promise I6).
    """

    incarnation: str
    sequence: int

    def precedes(self, other: Position) -> bool:
        """Whether it is of the same incarnation, and not after another position."""
        return self.incarnation == other.incarnation and self.sequence <= other.sequence


@record(kw_only=True)
class Entry:
    """A stored result.

    Attributes:
        key: The call's key.
        task: The task's name.
        task_id: Id of the task that computed it; None for ``task.cache``.
        created_at: Time of the run's end by its process' clock (Unix seconds; for display only).
        lifetime: Seconds that it is stored.
        fresh_for: Seconds of its lifetime that it is fresh; then it is stale.
        served_above_ms: Least milliseconds that remain while it is served without a run, stale or
            not.
        is_failure: Whether the payload is a remembered exception.
        run_seconds: Seconds that the run took.
        cost: The cost of the run, in the user's unit.
        born: The log's position from before the run.
        marks: Names of the log's marks that end it.
        serializer: Name of its serializer.
        compression: Name of its compressor, or None.
        payload: The serialized result.
        traits: Short digests of its call (``core.identity.traits``).
        trace: W3C traceparent of the span in which it was computed; empty when that wasn't traced.
        etag: The validator that its run has kept with it; empty for none.
        windows: Seconds of its two stale windows, where its run has decided them: while it is
            revalidated, and if an error occurs. None: the reader's policy has them.
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
    trace: str = ""
    etag: str = ""
    windows: tuple[float, float] | None = None

    @property
    def size(self) -> int:
        """Approximate bytes of the entry in memory, its marks and traits included."""
        texts = (self.key, self.task_id or "", self.traits, self.trace, *self.marks)
        if self.etag:
            texts = (*texts, self.etag)
        held = sum(map(getsizeof, texts)) + getsizeof(self.payload) + getsizeof(self.marks)
        # The allocator rounds each block up, by 8 bytes on average.
        return held + 8 * (len(texts) + 2) + getsizeof(self) + _FIGURES + _PLACE


def _sign(key: str, head: bytes, secret: bytes) -> bytes:
    digest = hashlib.blake2b(key=secret, digest_size=16)
    digest.update(b"%d %d:%s" % (len(head), len(key), key.encode()))
    digest.update(head)
    return digest.digest()


def _digest(payload: bytes) -> str:
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


def pack(entry: Entry, secret: bytes = b"") -> bytes:
    """Pack an entry into its frame."""
    return pack_head(entry, secret) + entry.payload


def pack_head(entry: Entry, secret: bytes = b"") -> bytes:
    """Pack what is in front of the payload in an entry's frame."""
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
            entry.trace,
            *([[entry.etag, *(entry.windows or ())]] if entry.etag or entry.windows else ()),
            _digest(entry.payload),
        ],
        separators=(",", ":"),
    ).encode("ascii")
    signature = _sign(entry.key, head, secret)
    return _HEADER.pack(MAGIC, FORMAT, signature, len(head)) + head


def unpack(key: str, frame: bytes, secret: bytes = b"") -> Entry:
    """Unpack the frame that is stored under ``key``.

    Raises:
        EntryError: The frame is no entry of this key, or of another format version.
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


#: First bytes of a frame that hold most heads; ``head_end`` says how many hold a longer one.
PEEK_BYTES = 4096

#: Bound on a head: one with the most tags that a call may have is shorter.
MAX_HEAD_BYTES = 1024 * 1024

#: A frame's first bytes, whose signature tells it from every other.
HEADER_BYTES = _HEADER.size


def head_end(start: bytes) -> int:
    """Return where the head of a frame ends, by its first bytes; 0 for no entry."""
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
        The entry without its payload; None for no entry.
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
    """Return one object for equal texts of all entries: task names, serializers, incarnations."""
    return text


def _are_well(texts: tuple[Any, ...], figures: tuple[Any, ...]) -> bool:
    """Whether all are what ``_check`` accepts, as nearly always; it says which isn't."""
    if set(map(type, texts)) != {str} or not _NUMBERS.issuperset(map(type, figures)):
        return False
    # A sum with an undefined figure is undefined.
    return bool(min(figures) >= 0 and max(figures) <= MAX_FIGURE and sum(figures) >= 0)


_NUMBERS = frozenset((int, float))


def _check(*, is_text: Iterable[Any] = (), is_figure: Iterable[Any] = ()) -> None:
    """Check texts and figures.

    Raises:
        TypeError: A value is of another type.
        ValueError: A figure is negative, too large or not finite.
    """
    for text in is_text:
        if not isinstance(text, str):
            raise TypeError("something is no text")
    for figure in is_figure:
        if isinstance(figure, bool) or not isinstance(figure, (int, float)):
            raise TypeError(f"{figure!r:.40} is no figure")
        if not 0 <= figure <= MAX_FIGURE:
            raise ValueError(f"{figure!r:.40} is out of bounds")


def _read(key: str, head: bytes, payload: bytes) -> tuple[Entry, str]:
    """Return the entry, and the digest that its payload has to have."""
    incarnation, sequence, above, task, task_id, *rest = json.loads(head)
    at, lifetime, fresh_for, is_failure, run, cost, marks, serializer, zipped, *texts = rest
    traits, trace, *decided, digest = texts
    etag, windows = _read_decided(*decided) if decided else ("", None)
    # Any writer to Redis may have made it: figures that pass here can be added up anywhere.
    texts = (incarnation, task, serializer, traits, trace, digest, *marks)
    figures = (sequence, above, at, lifetime, fresh_for, run, cost)
    if not _are_well(texts, figures):
        _check(is_text=texts, is_figure=figures)
    _check(is_text=(text for text in (task_id, zipped) if text is not None))
    if not isinstance(marks, list) or not isinstance(is_failure, bool):
        raise TypeError("it holds something else than it should")
    if not isinstance(sequence, int) or not isinstance(above, int):
        raise TypeError("a position is a whole number")
    if len(trace) > MAX_TRACE:
        raise ValueError("its trace is too long")
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
        trace=trace,
        etag=etag,
        windows=windows,
    )
    return entry, digest


def _read_decided(decided: object) -> tuple[str, tuple[float, float] | None]:
    """Return what the run has decided: etag and stale windows."""
    if not isinstance(decided, list) or len(decided) not in (1, 3):
        raise TypeError("it holds something else than it should")
    etag, *windows = decided
    _check(is_text=(etag,), is_figure=windows)
    if len(etag) > MAX_ETAG:
        raise ValueError("its etag is too long")
    return etag, (float(windows[0]), float(windows[1])) if windows else None
