"""Pydantic models among a task's parameters (``pydantic=True``), for the keys of its calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from billiard.exceptions import SoftTimeLimitExceeded

from ...core.arguments.canonical import canonical
from ..patches.internals import validated_body


def models_of(run: Callable[..., Any]) -> Mapping[str, Callable[[Any], Any]]:
    """Return the parameters of a task's body that are models, each with a reader of its value."""
    body = validated_body(run)
    if body is None:
        return {}
    try:
        hints = get_type_hints(body)
    except (NameError, AttributeError, TypeError):
        hints = {n: p.annotation for n, p in inspect.signature(body).parameters.items()}
    return {
        name: _reader(model)
        for name, hint in hints.items()
        if name != "return" and (model := _model(hint)) is not None
    }


def _model(hint: Any) -> Any:
    """Return the model of an annotation, as Celery finds it: ``Model`` or ``Optional[Model]``."""
    if get_origin(hint) in (Union, UnionType):
        given = [each for each in get_args(hint) if each is not NoneType]
        hint = given[0] if len(given) == 1 else None
    is_model = isinstance(hint, type) and hasattr(hint, "model_validate")
    return hint if is_model else None


def _reader(model: Any) -> Callable[[Any], Any]:
    def held(value: Any) -> Any:
        try:
            return _state(model.model_validate(value))
        except SoftTimeLimitExceeded:
            raise  # the task's own limit: it fails as it would have
        except Exception as error:  # validators are users' code, and may want a context
            raise ValueError(f"not understood as {model.__name__}: {error}") from error

    return held


def _state(value: Any) -> Any:
    """All that a body can see in a value: what a dump leaves out or writes in another way, too."""
    kind = type(value)
    if hasattr(kind, "model_validate"):
        return [_name(kind), *map(_state, (vars(value), value.model_extra, _private(value)))]
    if is_dataclass(value) and not isinstance(value, type):
        return [
            _name(kind),
            {field.name: _state(getattr(value, field.name)) for field in fields(value)},
        ]
    if kind is dict:
        return {key: _state(item) for key, item in value.items()}
    if kind in (set, frozenset):
        return [_name(kind), *sorted(map(_state, value), key=canonical)]
    return kind(map(_state, value)) if kind in (list, tuple) else value


def _private(model: Any) -> Any:
    return getattr(model, "__pydantic_private__", None)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
