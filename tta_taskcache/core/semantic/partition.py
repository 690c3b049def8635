"""Partitions: the calls of a task that agree in everything but the text that is compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..record import record

#: The form of the digests: another one starts over.
_FORMAT = b"semantic-1"

#: Most characters of a text: longer ones have only their exact key.
MAX_TEXT = 16_384


@record
class SemanticCall:
    """What of a call is compared with others.

    Attributes:
        partition: Digest of everything else: only calls with an equal one are neighbours.
        text: The text.
    """

    partition: str
    text: str


def digest(parts: Iterable[bytes], secret: bytes) -> str:
    """Return the digest of a partition: 128 bits, as of a key.

    Args:
        parts: Canonical forms of all that neighbours have to agree in.
        secret: Key of the digest; empty for none.
    """
    hashed = hashlib.blake2b(_FORMAT, key=secret, digest_size=16)
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.hexdigest()
