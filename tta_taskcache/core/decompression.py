"""Decompressing no more than was allowed: a small frame may hold very many bytes (promise F7)."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

#: Given the bytes, and the most that may come of them.
BoundedDecompress = Callable[[bytes, int], bytes]

#: A window larger than this is refused by LZMA, whose header names its size.
_MAX_WINDOW = 128 * 1024 * 1024


def _bounded(make: Callable[[], Any]) -> BoundedDecompress:
    """For decompressors with the interface of ``bz2.BZ2Decompressor``."""

    def decompress(data: bytes, max_bytes: int) -> bytes:
        stream = make()
        found: bytes = stream.decompress(data, max_bytes + 1)
        if len(found) <= max_bytes and not stream.eof:
            raise ValueError("the compressed stream is cut")
        return found

    return decompress


def _zstd() -> dict[Callable[..., Any], BoundedDecompress]:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = import_module(name)
        except ImportError:
            continue
        return {zstd.decompress: _bounded(zstd.ZstdDecompressor)}
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
        # Before 1.2 it has no bound; a little at a time is one.
        found = bytearray()
        for start in range(0, len(data), 64):
            found += stream.process(data[start : start + 64])
            if len(found) > max_bytes:
                return bytes(found)
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
