"""Binding a call to a signature, fast: one generated function per task.

``inspect.Signature.bind`` costs several microseconds a call; a function with the task's own
parameter list, which does nothing but return them, lets the interpreter do the same work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ...errors import WrongArguments
from .default_value import unwrapped, wrapped

_KINDS = inspect.Parameter
_STARS: dict[object, str] = {_KINDS.VAR_POSITIONAL: "*", _KINDS.VAR_KEYWORD: "**"}


class Binder:
    """Binds arguments to a task's parameters, defaults included.

    Args:
        function: The task's ``run``, without ``self``.

    Attributes:
        names: The parameters in order; ``*args`` and ``**kwargs`` under their own names.
        star: Index of ``*args`` among them; None without it.
        plain: Indexes of those that can be given by name, ``**kwargs`` apart.
    """

    __slots__ = ("_bind", "_kinds", "names", "plain", "star")

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = list(inspect.signature(function).parameters.values())
        self.names = tuple(p.name for p in parameters)
        self._kinds = tuple(p.kind for p in parameters)
        kinds = self._kinds
        is_star = _KINDS.VAR_POSITIONAL in kinds
        self.star = kinds.index(_KINDS.VAR_POSITIONAL) if is_star else None
        named = (_KINDS.POSITIONAL_OR_KEYWORD, _KINDS.KEYWORD_ONLY)
        self.plain = frozenset(i for i, kind in enumerate(kinds) if kind in named)
        self._bind = _generate(parameters)

    def values(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values in the order of ``names``; some defaults as ``DefaultValue``.

        Raises:
            WrongArguments: The arguments don't fit the signature.
        """
        try:
            return self._bind(*args, **kwargs)
        except TypeError as error:
            raise WrongArguments(str(error).removeprefix("bind() ")) from None

    def call(self, function: Callable[..., Any], values: Sequence[Any]) -> Any:
        """Call a function with bound values, so that equal calls are called alike."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, kind, each in zip(self.names, self._kinds, values, strict=True):
            value = unwrapped(each)
            if kind is _KINDS.VAR_POSITIONAL:
                args.extend(value)
            elif kind is _KINDS.VAR_KEYWORD:
                kwargs.update(value)
            elif kind is _KINDS.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return function(*args, **kwargs)

    def with_value(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], at: int, value: Any
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return arguments with another value of a parameter of ``plain``, named by its index."""
        if self._kinds[at] is not _KINDS.KEYWORD_ONLY and at < len(args):
            return (*args[:at], value, *args[at + 1 :]), kwargs
        return args, {**kwargs, self.names[at]: value}

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values by name."""
        return dict(zip(self.names, map(unwrapped, self.values(args, kwargs)), strict=True))


def _generate(parameters: list[inspect.Parameter]) -> Callable[..., tuple[Any, ...]]:
    # Copies: a body that changes its default later doesn't change keys.
    defaults = {
        f"_default_{i}": wrapped(_copy(p.default))
        for i, p in enumerate(parameters)
        if p.default is not p.empty
    }
    pieces: list[str] = []
    for i, p in enumerate(parameters):
        if p.kind is _KINDS.KEYWORD_ONLY and not _has_star(parameters[:i]):
            pieces.append("*")
        star = _STARS.get(p.kind, "")
        default = f"=_default_{i}" if p.default is not p.empty else ""
        pieces.append(f"{star}{p.name}{default}")
        after = parameters[i + 1].kind if i + 1 < len(parameters) else None
        if p.kind is _KINDS.POSITIONAL_ONLY and after is not _KINDS.POSITIONAL_ONLY:
            pieces.append("/")
    names = "".join(f"{p.name}, " for p in parameters)
    source = f"def bind({', '.join(pieces)}): return ({names})"
    namespace: dict[str, Any] = defaults
    exec(source, namespace)  # noqa: S102 - the source is made of the names of a compiled function
    bind: Callable[..., tuple[Any, ...]] = namespace["bind"]
    return bind


def _copy(default: Any) -> Any:
    try:
        return deepcopy(default)
    except Exception:  # noqa: BLE001 - what can't be copied is used as it is
        return default


def _has_star(before: list[inspect.Parameter]) -> bool:
    return any(p.kind in (_KINDS.VAR_POSITIONAL, _KINDS.KEYWORD_ONLY) for p in before)
