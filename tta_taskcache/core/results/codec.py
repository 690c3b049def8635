"""Codecs: results to bytes and back.

The JSON is the library's own (promise R1): kombu's turns a *user's* dict
``{"__type__": …, "__value__": …}`` into something else or an error. Other types are carried in an
object under a key that no user data may hold; a result that holds it is not cached. Other
serializers and compressors are passed in by name (kombu's registries, in Celery).
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ...errors import EntryError, OversizedResult, UnserializableResult
from ..interruption import handled_now, raise_interruption
from ..record import record
from .decompression import BOUNDED, BoundedDecompress

#: A bound on bytes that never applies.
UNBOUNDED = 2**62


@record
class Serializer:
    """A named pair of functions: ``dumps`` raises on unfit values, ``loads`` on garbage."""

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


@record
class Compressor:
    """A named pair of functions on bytes.

    ``decompress`` takes the most bytes that it may return. When there are more, it raises
    ``OversizedResult`` or returns them all, and ours never take much more memory.
    """

    name: str
    compress: Callable[[bytes], bytes]
    decompress: BoundedDecompress


#: The key that marks types: it contains a NUL, which no reasonable dict key does.
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


#: Reads one value at the start of a text. ``json.loads`` looks for spaces around it, too.
_read_value = json.JSONDecoder().raw_decode


def json_loads(data: bytes) -> Any:
    """Deserialize the bytes of ``json_dumps``.

    Raises:
        ValueError: They are no JSON, or not as ``json_dumps`` writes it.
    """
    text = data.decode("ascii")
    if _TAG_IN_TEXT in text:
        return json.loads(text, object_hook=_untag)
    value, end = _read_value(text)
    if end != len(text):
        raise ValueError("more than one value")
    return value


def exact_json_dumps(value: Any) -> bytes:
    """Serialize to JSON a value that comes back as it was: no tuple, no integer key.

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


@record
class Codecs:
    """The serializers and compressors known to this process, by name.

    Attributes:
        serializers: The serializers.
        compressors: The compressors.
        interruptions: Exceptions that say nothing of what is read or written, whenever they strike.
    """

    serializers: Mapping[str, Serializer] = field(default_factory=lambda: {JSON.name: JSON})
    compressors: Mapping[str, Compressor] = field(default_factory=lambda: {ZLIB.name: ZLIB})

    interruptions: tuple[type[BaseException], ...] = ()

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
            UnserializableResult: The serializer can't carry the result.
            OversizedResult: It has more than ``max_bytes``.
        """
        handled = handled_now()
        try:
            data = self.serializers[serializer].dumps(value)
            if len(data) <= max_bytes:
                return self.compressors[compression].compress(data) if compression else data
        except UnserializableResult:
            raise
        except Exception as error:  # whatever a serializer raises, it means the same
            raise_interruption(error, self.interruptions, handled)
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
            EntryError: A name is unknown, the bytes are unreadable, or there are more than
                ``max_bytes`` (promise F7).
        """
        handled = handled_now()
        try:
            if compression and len(data) <= max_bytes:
                data = self.compressors[compression].decompress(data, max_bytes)
            if len(data) <= max_bytes:
                return self.serializers[serializer].loads(data)
        except OversizedResult:
            pass  # said below
        except Exception as error:  # foreign bytes may break a decoder in any way
            raise_interruption(error, self.interruptions, handled)
            raise EntryError("corrupt", f"{serializer}: {error}") from error
        raise EntryError("too-large", f"more than {max_bytes:,} bytes")
