"""Records: dataclasses that nobody changes, quick to define and to make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def record(cls: type[T]) -> type[T]: ...


@overload
def record(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(
    cls: type[T] | None = None, *, kw_only: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class a dataclass with slots, frozen for type checkers, and hashable.

    With ``frozen=True``, an instance of nine fields takes 1.3 µs instead of 0.2 to make, and an
    answer from memory makes several. Methods that ``dataclass`` would compile for each class exist
    once: it takes 0.13 ms instead of 0.5, of more than a hundred classes that are imported.

    Args:
        cls: The class.
        kw_only: Whether fields are passed by name only.
    """
    if cls is None:
        return lambda cls: _make(cls, kw_only=kw_only)
    return _make(cls, kw_only=kw_only)


def _make(cls: type[T], *, kw_only: bool) -> type[T]:
    own = vars(cls)
    made: Any = dataclass(slots=True, eq=False, repr=False, kw_only=kw_only)(cls)
    names = [f.name for f in fields(made) if f.compare]
    values = attrgetter(*names) if names else type  # of one field: the value itself

    def __eq__(self: T, other: object) -> bool:  # noqa: N807 - a method to be
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    def __hash__(self: T) -> int:  # noqa: N807 - likewise
        return hash(values(self))

    for method in (__eq__, __hash__, __repr__):
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    result: type[T] = made
    return result


def __repr__(self: Any) -> str:  # noqa: N807 - of all records
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
