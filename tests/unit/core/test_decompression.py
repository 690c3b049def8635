"""A small frame may hold very many bytes: no more of them than allowed take memory (F7)."""

import os
import tracemalloc
from importlib import import_module
from typing import Any

import pytest

from tta_taskcache.celery.config.serializers import CODECS
from tta_taskcache.core.results.codec import ZLIB, Codecs
from tta_taskcache.core.results.decompression import BOUNDED
from tta_taskcache.errors import EntryError, OversizedResult

LIMIT = 4_000_000

#: What LZMA's decoder takes besides (bytes).
LZMA_WINDOW = 8 * 1024 * 1024

#: What a forged frame of some kilobytes holds (MB).
BOMB_SIZE = int(os.environ.get("BOUNDS_BOMB", "50"))


def optional_module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


@pytest.mark.parametrize("name", sorted(CODECS.compressors))
def test_f7_a_bomb_takes_what_is_allowed(name: str) -> None:
    bomb = CODECS.compressors[name].compress(b'"' + b"A" * (BOMB_SIZE * 1_000_000) + b'"')
    tracemalloc.start()
    try:
        with pytest.raises(EntryError, match="too-large"):
            CODECS.decode(bomb, "json", name, max_bytes=LIMIT)
        window = LZMA_WINDOW if name in {"lzma", "xz"} else 0
        taken = tracemalloc.get_traced_memory()[1]
        assert taken < LIMIT + window + 2 * len(bomb) + 2_000_000
    finally:
        tracemalloc.stop()


def test_f7_a_frame_of_zstd_names_no_window_of_its_own() -> None:
    zstd = next((module for name in ("compression.zstd", "backports.zstd")
                 if (module := optional_module(name))), None)  # fmt: skip
    if zstd is None:
        pytest.skip("no zstd")
    options = {zstd.CompressionParameter.window_log: 27}
    forged = zstd.compress(b"A" * 200_000_000, options=options)
    with pytest.raises(zstd.ZstdError, match="too much memory"):
        BOUNDED[zstd.decompress](forged, LIMIT)


@pytest.mark.parametrize("name", sorted(CODECS.compressors))
def test_what_is_allowed_comes_back(name: str) -> None:
    data = CODECS.encode("x" * 1_000, "json", name, max_bytes=1_002)
    assert CODECS.decode(data, "json", name, max_bytes=1_002) == "x" * 1_000
    with pytest.raises(EntryError):
        CODECS.decode(data[:-5], "json", name, max_bytes=1_002)


def test_f7_the_bound_is_of_what_is_serialized() -> None:
    codecs = Codecs()
    with pytest.raises(OversizedResult, match="1,002 bytes"):
        codecs.encode("x" * 1_000, "json", ZLIB.name, max_bytes=1_001)
    with pytest.raises(EntryError, match="too-large"):
        codecs.decode(b'"' + b"x" * 1_000 + b'"', "json", None, max_bytes=1_001)
