"""Pydantic models among a task's parameters (``pydantic=True``), for the keys of its calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

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
        return model.model_validate(value).model_dump()

    return held
