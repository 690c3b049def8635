"""Formatting of figures and values, for people and for machines."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))

#: Control characters that JSON leaves as they are; a terminal may obey them.
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029]")


def duration(seconds: float) -> str:
    """Format seconds as one word: ``0s``, ``85ms``, ``3.2s``, ``42s``, ``5m3s``, ``2d4h``."""
    if seconds <= 0:
        return "0s"
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f}ms" if round(seconds, 3) else "<1ms"
    if round(seconds, 1) < 10:  # noqa: PLR2004 - one digit in front of the point
        return f"{seconds:.1f}s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, name in _UNITS:
        count, rest = divmod(rest, unit)
        if count or parts:
            parts.append(f"{count}{name}" if count else "")
    return "".join(parts[:2])


def saving(seconds: float) -> str:
    """Format seconds that were saved as ``duration`` does; a loss with a minus sign."""
    return f"-{duration(-seconds)}" if seconds < 0 else duration(seconds)


def size(count: float) -> str:
    """Format bytes as one word, in decimal units: ``512B``, ``1.2kB``, ``34.0MB``."""
    units = iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    for larger in units:
        if round(count, 1) < 1000:  # noqa: PLR2004 - three digits in front of the point
            break
        count, unit = count / 1000, larger
    return f"{count:.0f}{unit}" if unit == "B" else f"{count:.1f}{unit}"


def amount(value: float) -> str:
    """Format an amount in the user's unit: ``0``, ``0.0012``, ``1,234.50``."""
    if not value:
        return "0"
    return f"{value:,.2f}" if value >= 1 else f"{value:.2g}"


def plural(count: int, one: str, many: str) -> str:
    """Format a number with its noun: ``1 entry``, ``1,200 entries``."""
    return f"{count:,} {one if count == 1 else many}"


def plain(value: Any) -> Any:
    """Convert a result to JSON's own types.

    Dates become ISO 8601, bytes base64, other values that JSON doesn't know (and NaN) their text.
    """
    match value:
        case float() if not math.isfinite(value):
            plain_value: Any = str(value)
        case None | bool() | int() | float() | str():
            plain_value = value
        case Mapping():
            plain_value = {str(name): plain(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            plain_value = [plain(item) for item in value]
        case datetime() | date() | time():
            plain_value = value.isoformat()
        case bytes():
            plain_value = b64encode(value).decode("ascii")
        case _:
            plain_value = str(value)
    return plain_value


def machine(value: Any) -> str:
    """Format a value as one line of JSON in ASCII, which survives terminals, pipes and locales."""
    return json.dumps(plain(value), allow_nan=False)


def readable(value: Any) -> str:
    """Format a value as indented JSON without characters that a terminal obeys."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: str) -> str:
    """Escape the characters of a text that a terminal obeys, line breaks among them."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
