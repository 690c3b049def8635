"""kombu's registries: which serializers and compressors this process has."""

from __future__ import annotations

from collections.abc import Collection

from kombu import compression, serialization


def serializer_names() -> Collection[str]:
    """Names of the serializers that are registered now."""
    names: Collection[str] = serialization.registry._encoders.keys()
    return names


def serializer_encoding(name: str) -> str:
    """The content encoding of a serializer's bytes.

    Raises:
        KeyError: There is no such serializer.
    """
    encoding: str = serialization.registry._encoders[name][1]
    return encoding


def compressor_names() -> Collection[str]:
    """Names and aliases of the compressors that are registered now."""
    names: Collection[str] = compression._aliases.keys()
    return names
