"""What a message carries of a call's semantic keys: its text's vector, and the threshold."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

from ...core.options.policy import Policy
from ...core.record import record
from ...core.semantic.semantic_policy import read_threshold

#: The name in our header.
SEMANTIC = "semantic"

#: Bytes of the digest in front of a vector.
_DIGEST = 16


@record
class CarriedText:
    """What is known of a call's text before a lookup.

    Attributes:
        vector: Its vector, sealed, where the site before has looked for neighbours; else None.
        asked: The call's ``cache_semantic``: None for the task's threshold, False for none.
    """

    vector: bytes | None = None
    asked: float | bool | None = None


#: What is known of a call that came without.
NOTHING = CarriedText()


def read_asked(policy: Policy, task: str, asked: Any) -> float | bool | None:
    """Check a call's ``cache_semantic``.

    Raises:
        ValueError: The value isn't allowed; the message says what is.
    """
    if asked is None or asked is False:
        return asked
    if policy.semantic is None:
        raise ValueError(
            f"cache_semantic={asked!r}: task {task!r} has no semantic keys; allowed: False"
        )
    return read_threshold(asked, policy.semantic.threshold)


def seal(text: str, vector: bytes, embedder: str, secret: bytes) -> bytes:
    """Return a vector with a digest of what it belongs to, for a message.

    Args:
        text: Its text.
        vector: The vector.
        embedder: Name of its embedder.
        secret: Key of the digest: without it nobody makes one; empty for a plain checksum.
    """
    return _digest(text, vector, embedder, secret) + vector


def unseal(sealed: bytes | None, text: str, embedder: str, secret: bytes) -> bytes | None:
    """Return the vector of a message, if it belongs to a text; else None.

    A message's headers may be another's: those of a retry with new arguments, or of a task that
    hands its own on to other calls.
    """
    if sealed is None:
        return None
    digest, vector = sealed[:_DIGEST], sealed[_DIGEST:]
    return vector if compare_digest(digest, _digest(text, vector, embedder, secret)) else None


def _digest(text: str, vector: bytes, embedder: str, secret: bytes) -> bytes:
    digest = blake2b(key=secret, digest_size=_DIGEST, person=b"tc-vector")
    for part in (text.encode(errors="surrogatepass"), embedder.encode(), vector):
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()


def to_header(carried: CarriedText) -> list[Any] | None:
    """Return it as our header carries it; None when there is nothing to carry."""
    if carried == NOTHING:
        return None
    vector = None if carried.vector is None else b64encode(carried.vector).decode("ascii")
    return [vector, carried.asked]


def read_carried(cache_header: Mapping[str, Any]) -> CarriedText:
    """Read it from our header; what isn't as it was sent counts as nothing."""
    match cache_header.get(SEMANTIC):
        case [str() | None as text, bool() | int() | float() | None as asked]:
            try:
                vector = None if text is None else b64decode(text, validate=True)
            except ValueError:
                vector = None
            return CarriedText(vector, asked)
    return NOTHING
