"""Traits: digests of a call in its entry, which tell in what another call differs from it.

Each part has a short digest: the parameters' names, the version, each vary header, each argument
that isn't ignored. Arguments themselves are kept nowhere, and 24 bits name no value; with a secret,
no guess can be tried. Two values share a digest once in 16 million times, which only spoils an
explanation.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Sequence

#: Bytes of a digest, and the characters they are written as.
_BYTES, _WIDTH = 3, 4

SHAPE = "the task's parameters, cache_ignore or cache_vary"
VERSION = "cache_version"


def subjects(arguments: Sequence[str], headers: Sequence[str]) -> tuple[str, ...]:
    """Return the subject of each part of a call's traits, for people."""
    return (
        SHAPE,
        VERSION,
        *(f"header {name!r}" for name in headers),
        *(f"argument {name!r}" for name in arguments),
    )


def make(parts: Iterable[bytes], secret: bytes) -> str:
    """Make the traits of a call: a digest of each part, in the order of ``subjects``."""
    digests = (hashlib.blake2b(part, digest_size=_BYTES, key=secret).digest() for part in parts)
    return "".join(b64encode(digest).decode("ascii") for digest in digests)


def differences(about: Sequence[str], these: str, those: str) -> tuple[str, ...] | None:
    """Return the subjects in which two calls of a task differ; None when that can't be told.

    Where the shape differs, other parts have no counterparts, and it is the only difference.
    """
    if not those or len(these) != _WIDTH * len(about):
        return None
    if these[:_WIDTH] != those[:_WIDTH]:
        return (SHAPE,)
    if len(these) != len(those):
        return None
    return tuple(
        subject
        for i, subject in enumerate(about)
        if these[i * _WIDTH : (i + 1) * _WIDTH] != those[i * _WIDTH : (i + 1) * _WIDTH]
    )
