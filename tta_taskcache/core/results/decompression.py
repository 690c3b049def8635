"""Bounded decompression: a small frame may hold very many bytes (promise F7)."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from ...errors import OversizedResult

#: Decompresses bytes, given the most bytes to return; raises ``OversizedResult`` for more.
BoundedDecompress = Callable[[bytes, int], bytes]

#: Bytes of a small frame that are decompressed at once.
_PIECE = 1024 * 1024

#: Most bytes that a decoder of LZMA or zstd may take for its window, whose size a frame's header
#: names: that of kombu's frames is at most 8 MiB.
_MAX_WINDOW = 16 * 1024 * 1024


def _bounded(make: Callable[[], Any]) -> BoundedDecompress:
    """Bound a decompressor with the interface of ``bz2.BZ2Decompressor``, or of ``zlib``'s."""

    def decompress(data: bytes, max_bytes: int) -> bytes:
        stream, pieces, left = make(), [], max_bytes
        at_once = max(_PIECE, len(data) // 4)  # zlib copies what is left of a large frame each time
        while not stream.eof:
            # Piece by piece: what is too large is dropped before it is put together.
            piece: bytes = stream.decompress(data, min(left + 1, at_once))
            data = getattr(stream, "unconsumed_tail", b"")
            if not (piece or data or stream.eof):
                raise ValueError("the compressed stream is cut")
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise OversizedResult(max_bytes - left, max_bytes)
        return b"".join(pieces)

    return decompress


def _zstd() -> dict[Callable[..., Any], BoundedDecompress]:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = import_module(name)
        except ImportError:
            continue
        window = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW.bit_length() - 1}
        return {zstd.decompress: _bounded(partial(zstd.ZstdDecompressor, options=window))}
    return {}


def zstandard_decompress(data: bytes, max_bytes: int) -> bytes:
    """Decompress with ``zstandard``, which kombu uses up to 5.6, within bounds.

    Raises:
        ValueError: The stream is cut, or doesn't say how long it is.
    """
    zstandard: Any = import_module("zstandard")
    size = zstandard.frame_content_size(data)
    stream = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(data)
    found: bytes = stream.read(min(size, max_bytes) + 1) if size >= 0 else b""
    if len(found) <= max_bytes and len(found) != size:
        raise ValueError("the compressed stream is cut")
    return found


def _brotli() -> dict[Callable[..., Any], BoundedDecompress]:
    try:
        brotli: Any = import_module("brotli")
    except ImportError:
        return {}

    def decompress(data: bytes, max_bytes: int) -> bytes:
        stream = brotli.Decompressor()
        # Up to 1.1, brotli has no bound but small portions.
        found = bytearray()
        for start in range(0, len(data), 64):
            found += stream.process(data[start : start + 64])
            if len(found) > max_bytes:
                raise OversizedResult(len(found), max_bytes)
        if not stream.is_finished():
            raise ValueError("the compressed stream is cut")
        return bytes(found)

    return {brotli.decompress: decompress}


#: Bounded forms of unbounded functions.
BOUNDED: dict[Callable[..., Any], BoundedDecompress] = {
    zlib.decompress: _bounded(zlib.decompressobj),
    bz2.decompress: _bounded(bz2.BZ2Decompressor),
    lzma.decompress: _bounded(lambda: lzma.LZMADecompressor(memlimit=_MAX_WINDOW)),
    **_zstd(),
    **_brotli(),
}
