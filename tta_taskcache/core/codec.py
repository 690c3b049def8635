"""How results become bytes and come back.

JSON is ours, not kombu's, for promise R1: kombu's JSON turns a *user's* dict
``{"__type__": …, "__value__": …}`` into something else or an error. Types beyond JSON's are carried
in an object under a key that no user data may hold; a result that holds it is not cached.
Other serializers and compressors are handed in by name (kombu's registries, in Celery).
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..errors import EntryError, OversizedResult, UnserializableResult
from .decompression import BOUNDED, BoundedDecompress

#: In place of a number of bytes: as many as there are.
UNBOUNDED = 2**62


@dataclass(frozen=True, slots=True)
class Serializer:
    """A named pair of functions. ``dumps`` raises on what it can't carry, ``loads`` on garbage."""

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Compressor:
    """A named pair of functions on bytes.

    ``decompress`` is given the most bytes that may come of it. When there are more, it raises
    ``OversizedResult`` or returns them all, and never takes much more memory if it is ours.
    """

    name: str
    compress: Callable[[bytes], bytes]
    decompress: BoundedDecompress


#: The tag contains a NUL, which no reasonable dict key does.
_TAG = "\0t"
_TAG_IN_TEXT = r'"\u0000t"'

_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": b64decode,
}


def _to_text(value: Any) -> tuple[str, str]:
    match value:
        case datetime():
            return "datetime", value.isoformat()
        case date():
            return "date", value.isoformat()
        case time():
            return "time", value.isoformat()
        case Decimal():
            return "decimal", str(value)
        case UUID():
            return "uuid", value.hex
        case bytes():
            return "bytes", b64encode(value).decode("ascii")
    raise UnserializableResult(
        f"JSON can't carry a {type(value).__module__}.{type(value).__qualname__}"
    )


def json_dumps(value: Any) -> bytes:
    """Serialize to JSON; datetimes, Decimals, UUIDs and bytes keep their types.

    Raises:
        UnserializableResult: The value holds something that JSON can't carry.
    """
    tagged = 0

    def default(item: Any) -> dict[str, str]:
        nonlocal tagged
        tagged += 1
        kind, text = _to_text(item)
        return {_TAG: kind, "v": text}

    try:
        text = json.dumps(value, default=default, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnserializableResult(str(error)) from None
    if text.count(_TAG_IN_TEXT) != tagged:
        raise UnserializableResult("the result holds the text that marks types in stored JSON")
    return text.encode("ascii")


def _untag(item: dict[str, Any]) -> Any:
    kind = item.get(_TAG)
    return item if kind is None else _FROM_TEXT[kind](item["v"])


def json_loads(data: bytes) -> Any:
    """The value that ``json_dumps`` was given."""
    text = data.decode("ascii")
    return json.loads(text, object_hook=_untag if _TAG_IN_TEXT in text else None)


def exact_json_dumps(value: Any) -> bytes:
    """``json_dumps``, for values only that come back as they were: no tuple, no integer key.

    Raises:
        UnserializableResult: JSON would change the value.
    """
    data = json_dumps(value)
    if json_loads(data) != value:
        raise UnserializableResult("JSON would change it (a tuple, or a key that is no string)")
    return data


JSON = Serializer("json", json_dumps, json_loads)
EXACT_JSON = Serializer("json", exact_json_dumps, json_loads)

ZLIB = Compressor("zlib", lambda data: zlib.compress(data, 1), BOUNDED[zlib.decompress])


@dataclass(frozen=True, slots=True)
class Codecs:
    """The serializers and compressors known to this process, by name."""

    serializers: Mapping[str, Serializer] = field(default_factory=lambda: {JSON.name: JSON})
    compressors: Mapping[str, Compressor] = field(default_factory=lambda: {ZLIB.name: ZLIB})

    def encode(
        self,
        value: Any,
        serializer: str,
        compression: str | None,
        *,
        max_bytes: int = UNBOUNDED,
    ) -> bytes:
        """Turn a result into bytes.

        Args:
            value: The result.
            serializer: Name of the serializer.
            compression: Name of the compressor, or None.
            max_bytes: Bound on the bytes, before they are compressed.

        Raises:
            UnserializableResult: The serializer can't carry it.
            OversizedResult: There are more bytes than that.
        """
        try:
            data = self.serializers[serializer].dumps(value)
            if len(data) <= max_bytes:
                return self.compressors[compression].compress(data) if compression else data
        except UnserializableResult:
            raise
        except Exception as error:  # whatever a serializer raises, it means the same
            raise UnserializableResult(f"{serializer}: {error}") from error
        raise OversizedResult(len(data), max_bytes)

    def decode(
        self,
        data: bytes,
        serializer: str,
        compression: str | None,
        *,
        max_bytes: int = UNBOUNDED,
    ) -> Any:
        """Turn stored bytes into a new object: every reader gets its own (promise R2).

        Raises:
            EntryError: Unknown names, unreadable bytes, or more than ``max_bytes`` of them
                (promise F7).
        """
        try:
            if compression and len(data) <= max_bytes:
                data = self.compressors[compression].decompress(data, max_bytes)
            if len(data) <= max_bytes:
                return self.serializers[serializer].loads(data)
        except OversizedResult:
            pass  # said below
        except Exception as error:  # foreign bytes may break a decoder in any way
            raise EntryError("corrupt", f"{serializer}: {error}") from error
        raise EntryError("too-large", f"more than {max_bytes:,} bytes")
