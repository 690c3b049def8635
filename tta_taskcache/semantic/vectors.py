"""Vectors: of length 1, so that a dot product is the cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.semantic.index_record import MAX_DIMENSIONS
from ..errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

#: The form of vectors in messages and in the index: 16-bit floats, little-endian.
_SENT = "<f2"


def numpy() -> Any:
    """Import numpy.

    Raises:
        ConfigurationError: It isn't installed.
    """
    try:
        import numpy  # noqa: PLC0415, ICN001 - an extra; its short name is for users of numpy
    except ImportError:
        raise ConfigurationError(
            "cache_semantic needs numpy: pip install 'tta-taskcache[semantic]'"
        ) from None
    return numpy


def packed(vector: Sequence[float]) -> bytes:
    """Return a vector as it is sent and stored, of length 1.

    Raises:
        ValueError: It is no vector of finite numbers, or has no direction.
    """
    np = numpy()
    array = np.asarray(vector, dtype=np.float64)
    if array.ndim != 1 or not 0 < array.size <= MAX_DIMENSIONS:
        raise ValueError(f"an embedding has to be a vector, not an array of shape {array.shape}")
    length = float(np.linalg.norm(array))
    if not 0.0 < length < float("inf"):
        raise ValueError("an embedding has to be of finite numbers that aren't all 0")
    data: bytes = (array / length).astype(_SENT).tobytes()
    return data


def unpacked(data: bytes) -> Array | None:
    """Return a vector of length 1; None for bytes that are none."""
    np = numpy()
    if not data or len(data) % 2:
        return None
    array: Array = np.frombuffer(data, dtype=_SENT).astype(np.float32)
    length = float(np.linalg.norm(array))
    if not 0.0 < length < float("inf"):  # not a number, too
        return None
    scaled: Array = array / np.float32(length)
    return scaled
