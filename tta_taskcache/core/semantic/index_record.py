"""Records of the index: the text and the vector of a stored call, and their bytes.

A record is ``signature, head (JSON), vector``. The signature (keyed BLAKE2b, 128 bits) covers the
partition and the key as well: nobody without the secret makes a call the neighbour of another
(promise X2). A vector is of 16-bit floats, which tell similarities to about 0.001.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct

from ..record import record

_SIGNATURE = 16
_HEAD = struct.Struct(">II")

#: Most dimensions of a vector.
MAX_DIMENSIONS = 16_384


@record
class IndexRecord:
    """A stored call in the index.

    Attributes:
        key: Its key, under which its entry is.
        text: Its text.
        vector: Its vector: 16-bit floats, little-endian.
    """

    key: str
    text: str
    vector: bytes


def pack_record(partition: str, record: IndexRecord, secret: bytes = b"") -> bytes:
    """Pack a record."""
    text = json.dumps(record.text).encode("ascii")
    body = _HEAD.pack(len(text), len(record.vector)) + text + record.vector
    return _sign(partition, record.key, body, secret) + body


def unpack_record(
    partition: str, key: str, packed: bytes, secret: bytes = b""
) -> IndexRecord | None:
    """Unpack a record that was found under a key; None for bytes that aren't one of it."""
    signature, body = packed[:_SIGNATURE], packed[_SIGNATURE:]
    if not hmac.compare_digest(signature, _sign(partition, key, body, secret)):
        return None
    try:
        text_size, vector_size = _HEAD.unpack_from(body)
        start = _HEAD.size
        text = json.loads(body[start : start + text_size])
    except (struct.error, ValueError, RecursionError):
        return None
    vector = body[start + text_size :]
    is_whole = len(vector) == vector_size and vector_size % 2 == 0
    if not isinstance(text, str) or not is_whole or not vector:
        return None
    return IndexRecord(key, text, vector)


def _sign(partition: str, key: str, body: bytes, secret: bytes) -> bytes:
    digest = hashlib.blake2b(key=secret, digest_size=_SIGNATURE, person=b"tc-index")
    digest.update(b"%d:" % len(key) + key.encode(errors="surrogatepass") + partition.encode())
    digest.update(body)
    return digest.digest()
