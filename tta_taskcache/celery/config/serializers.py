"""kombu's serializers and compressors, for results and for keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from kombu import compression, serialization
from kombu.utils import json as kombu_json

from ...core.interruption import Interruptions
from ...core.results.codec import EXACT_JSON, JSON, Codecs, Compressor, Serializer
from ...core.results.decompression import BOUNDED, zstandard_decompress
from ..patches.internals import compressor_names, serializer_encoding, serializer_names

_encoder = kombu_json.JSONEncoder()

#: Of kombu's own functions, up to 5.6 that for zstd.
_BOUNDED = BOUNDED | {getattr(compression, "zstd_decompress", None): zstandard_decompress}


def reduce(value: Any) -> Any:
    """Reduce a value of a type that JSON doesn't know as a message does (kombu's registry).

    Raises:
        TypeError: A message can't carry the value.
    """
    return _encoder.default(value)


class _Serializers(Mapping[str, Serializer]):
    """The library's own JSON (promise R1), and all other serializers of kombu's registry."""

    def __init__(self, json: Serializer) -> None:
        self._json = json

    def __getitem__(self, name: str) -> Serializer:
        if name == self._json.name:
            return self._json
        if name not in serializer_names():
            raise KeyError(name)

        def dumps(value: Any) -> bytes:
            data = serialization.dumps(value, serializer=name)[2]
            return data.encode() if isinstance(data, str) else bytes(data)

        def loads(data: bytes) -> Any:
            content_type = serialization.registry.name_to_type[name]
            encoding = serializer_encoding(name)
            return serialization.loads(data, content_type, encoding, accept={content_type})

        return Serializer(name, dumps, loads)

    def __iter__(self) -> Iterator[str]:
        return iter(serializer_names())

    def __len__(self) -> int:
        return len(serializer_names())


class _Compressors(Mapping[str, Compressor]):
    """The compressors of kombu's registry, by names and aliases."""

    def __getitem__(self, name: str) -> Compressor:
        if name not in compressor_names():
            raise KeyError(name)

        def compress(data: bytes) -> bytes:
            return bytes(compression.compress(data, name)[0])

        decoder = compression.get_decoder(name)
        bounded = _BOUNDED.get(decoder)

        def decompress(data: bytes, max_bytes: int) -> bytes:
            # A compressor that an application has registered is bounded by its result only.
            return bounded(data, max_bytes) if bounded else bytes(decoder(data))

        return Compressor(name, compress, decompress)

    def __iter__(self) -> Iterator[str]:
        return iter(compressor_names())

    def __len__(self) -> int:
        return len(compressor_names())


#: A soft time limit that strikes in a serializer is the task's (promise F8).
INTERRUPTIONS: Interruptions = (SoftTimeLimitExceeded,)

CODECS = Codecs(_Serializers(JSON), _Compressors(), INTERRUPTIONS)

#: For apps whose result backend carries more than JSON: stores only results that JSON keeps as they
#: are.
EXACT_CODECS = Codecs(_Serializers(EXACT_JSON), _Compressors(), INTERRUPTIONS)
