"""``cache_semantic``: calls that are answered by a stored call with nearly the same text."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any

from ...errors import ConfigurationError
from ..record import record
from ..warm_policy import is_name
from .guard import differing

#: A vector: a sequence of numbers, such as a list or a row of a numpy array.
Vector = Sequence[float]

#: Embeds texts: a vector for each, in their order.
Embed = Callable[[list[str]], "Sequence[Vector] | Awaitable[Sequence[Vector]]"]

#: Returns the reason why two texts don't ask for the same; empty when there is none.
Guard = Callable[[str, str], "str | Awaitable[str]"]

#: Most entries of a partition: each process that searches it holds all their vectors.
MAX_ENTRIES = 1_000_000


@record(kw_only=True)
class Semantic:
    """Semantic keys of a task, for ``cache_semantic``, or of a primitive, for ``semantic``.

    A call whose exact key has no entry may be answered by the entry of the nearest call that agrees
    in everything else: every other argument, every vary header, the version and the embedder.

    Attributes:
        on: Name of the argument whose text is compared, or its key in a primitive's data; a call
            with another type there has only its exact key.
        embed: Callable from a list of texts to their vectors, sync or async.
        threshold: Least cosine similarity of a neighbour that answers (more than 0, at most 1). It
            has no default: which one is right depends on the embedder and the texts.
        equal: Callable of the asked and the stored text, sync or async, that returns whether they
            ask for the same: a False is a veto.
        guard: Callable of the asked and the stored text, sync or async, that returns the reason for
            a veto, or an empty text; None for no guard. By default: differing numbers, dates,
            names, negations.
        same: Callable of two results that returns whether they say the same, to compare those of
            ``cache_verify`` and shadow mode; None for equality.
        max_entries: Most entries of one partition; the least recently used leave first.
        max_age: Most seconds since a neighbour's result was stored; None for its ttl alone.
        embedder: Name of the embedder and its version; None for the callable's own name. A new name
            starts over, as vectors of two embedders can't be compared.
        cost: Cost of one embedding, in the unit of ``cache_cost``.

    Raises:
        ConfigurationError: A field is wrong; the message says what is allowed.
    """

    on: str
    embed: Embed
    threshold: float
    equal: Callable[[str, str], bool | Awaitable[bool]] | None = None
    guard: Guard | None = differing
    same: Callable[[Any, Any], bool] | None = None
    max_entries: int = 1_000
    max_age: float | timedelta | None = None
    embedder: str | None = None
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not is_name(self.on):
            raise _wrong("on", self.on, "must be the name of the argument with the text")
        if not _is_number(self.threshold) or not 0 < self.threshold <= 1:
            raise _wrong(
                "threshold", self.threshold, "must be a similarity, more than 0 and at most 1"
            )
        if not callable(self.embed):
            raise _wrong("embed", self.embed, "must be a callable from texts to vectors")
        for name in ("equal", "guard", "same"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise _wrong(name, value, "must be a callable or None")
        if iscoroutinefunction(self.same):
            raise _wrong("same", self.same, "must be a plain function, not an async one")
        most = self.max_entries
        if not _is_whole(most) or not 1 <= most <= MAX_ENTRIES:
            raise _wrong("max_entries", most, f"must be a number from 1 to {MAX_ENTRIES:,}")
        age = self.oldest
        if self.max_age is not None and not (_is_number(age) and age > 0):
            raise _wrong("max_age", self.max_age, "must be seconds or a timedelta, more than 0")
        if not _is_number(self.cost) or not 0 <= self.cost < math.inf:
            raise _wrong("cost", self.cost, "must be a number, 0 or more")
        _ = self.embedder_name

    @property
    def oldest(self) -> float:
        """Most seconds since a neighbour's result was stored."""
        age = self.max_age
        if age is None:
            return math.inf
        return age.total_seconds() if isinstance(age, timedelta) else age

    @property
    def embedder_name(self) -> str:
        """Name of the embedder, which is part of every partition.

        Raises:
            ConfigurationError: It has none.
        """
        if self.embedder is not None:
            if is_name(self.embedder):
                return self.embedder
            raise _wrong("embedder", self.embedder, "must be a name")
        module = getattr(self.embed, "__module__", None)
        name = getattr(self.embed, "__qualname__", None)
        if not module or not name or "<" in name:
            raise _wrong(
                "embed", self.embed, 'has no name of its own: give embedder="name and version"'
            )
        return f"{module}.{name}"


def read_threshold(given: object, own: float, option: str = "cache_semantic") -> float | None:
    """Read a call's ``cache_semantic``: the threshold that it asks for; None turns it off.

    Args:
        given: None for the task's threshold, False for none, or a higher threshold.
        own: The task's threshold.
        option: The option's name.

    Raises:
        ValueError: The value isn't allowed; the message says what is.
    """
    if given is None or given is True:
        return own
    if given is False:
        return None
    if not _is_number(given) or not own <= given <= 1:  # type: ignore[operator]  # it is a number
        raise ValueError(
            f"{option}={given!r}: must be False, or a threshold from {own:g} to 1: a call may "
            "raise it, and never lower it"
        )
    return float(given)  # type: ignore[arg-type]  # likewise


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"Semantic({name}={value!r}): {allowed}")
