"""Remembered exceptions (negative caching): as text, and back exactly as they were, or not at all.

Nothing is imported to make an exception again: its class is one that the policy names, or a
subclass that this process knows. Its arguments and attributes are stored, as pickle would; an
exception that can't be made again from them without a difference is not stored.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from ...errors import EntryError, UnserializableResult
from ..options.policy import Policy
from .codec import json_dumps, json_loads

#: The attributes of every exception.
_PASSING = frozenset(dir(BaseException)) | {"__weakref__"}

_ABSENT = object()


def encode_error(error: Exception, policy: Policy) -> str:
    """Encode an exception as text.

    Raises:
        UnserializableResult: The exception would come back as another.
    """
    name = _name(type(error))
    if _classes(policy).get(name) is not type(error):
        raise UnserializableResult(f"{name} names another class")
    try:
        for way in _MAKERS:
            text = json_dumps({"type": name, "way": way, **_kept(error)})
            if _is_exact(error, _made(type(error), json_loads(text))):
                return text.decode("ascii")
    except Exception as fault:  # noqa: BLE001 - users' attributes may raise anything
        raise UnserializableResult(f"{name}: {fault!r}") from None
    raise UnserializableResult(f"{name} can't be made again from its args and attributes")


def decode_error(text: Any, policy: Policy) -> Exception:
    """Make an exception again from its text.

    Raises:
        EntryError: This process can't make it.
    """
    try:
        stored = json_loads(text.encode("ascii"))
        error = _made(_classes(policy)[stored["type"]], stored)
        is_same = _equal(_kept(error), {"args": stored["args"], "state": stored["state"]})
    except Exception as fault:  # noqa: BLE001 - foreign text, or a class that has changed since
        raise EntryError("unknown-error", f"{fault!r}") from None
    if not is_same:
        raise EntryError("unknown-error", f"{stored['type']} comes back as something else")
    return error


def _without_constructor(kind: type[Exception], args: list[Any]) -> Exception:
    """Make an exception as pickle's protocol 2 does, without the user's constructor."""
    native = next(each for each in kind.__mro__ if each.__module__ == builtins.__name__)
    made: Exception = native.__new__(kind, *args)
    return made


def _with_constructor(kind: type[Exception], args: list[Any]) -> Exception:
    return kind(*args)


#: Makers of an exception, the better one first: some native exceptions need their constructor.
_MAKERS = {"new": _without_constructor, "call": _with_constructor}


def _made(kind: type[Exception], stored: dict[str, Any]) -> Exception:
    error = _MAKERS[stored["way"]](kind, stored["args"])
    error.__dict__.clear()
    error.__setstate__(stored["state"])
    return error


def _kept(error: Exception) -> dict[str, Any]:
    """Return what pickle would keep of an exception.

    Raises:
        TypeError: Pickle makes it by other means than its class.
    """
    reduced: Any = error.__reduce__()
    kind, args, *more = reduced
    state = (more[0] if more else None) or {}
    if kind is not type(error) or not isinstance(state, dict):
        raise TypeError("it has a way of its own to be made again")
    return {"args": list(args), "state": state}


def _is_exact(error: Exception, copy: Exception) -> bool:
    """Whether a copy equals the exception, in text, arguments, attributes and slots."""
    try:
        if type(copy) is not type(error) or str(error) != str(copy):
            return False
        slots = (getattr(each, n, _ABSENT) for n in _slots(type(error)) for each in (error, copy))
        pairs = zip(slots, slots, strict=True)
        same = _equal(_kept(error), _kept(copy)) and _equal(error.args, copy.args)
        return same and all(a is b or _equal(a, b) for a, b in pairs)
    except Exception:  # noqa: BLE001 - a copy that is half made may raise anything
        return False


def _slots(kind: type) -> Iterator[str]:
    """Yield the attributes outside of an exception's ``__dict__``: ``errno``, ``start``, slots."""
    for each in kind.__mro__:
        for name, value in vars(each).items():
            is_slot = isinstance(value, (GetSetDescriptorType, MemberDescriptorType))
            if is_slot and name not in _PASSING:
                yield name


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal, and all types in them, too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _classes(policy: Policy) -> dict[str, type[Exception]]:
    """Return the classes that may be remembered, by name."""
    found: dict[str, type[Exception]] = {}
    for named in policy.errors:
        for kind in _with_subclasses(named):
            found.setdefault(_name(kind), kind)  # of two classes of one name, the first
    return found


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _with_subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _with_subclasses(below)
