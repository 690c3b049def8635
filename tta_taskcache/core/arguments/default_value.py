"""A parameter's default, where it stands in for an argument (promise K5).

No message carries it: the body gets it as it is, also where a message would make something else of
an equal argument (a tuple default stays a tuple; a tuple that is sent arrives as a list).
"""

from __future__ import annotations

from typing import Any

from ..record import record

#: Types of defaults that every message would leave as they are.
_CARRIED = frozenset((type(None), bool, int, float))


@record
class DefaultValue:
    """A default that a message might not carry as it is."""

    value: Any


def wrapped(default: Any) -> Any:
    """The default, marked as one unless a message makes no difference to it."""
    is_carried = type(default) in _CARRIED or (type(default) is str and default.isascii())
    return default if is_carried else DefaultValue(default)


def unwrapped(value: Any) -> Any:
    """The value itself, whether it is a default or not."""
    return value.value if type(value) is DefaultValue else value
