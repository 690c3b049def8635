"""The label of a call's key and its tags, compiled for a task (promise K2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ConfigurationError
from ..arguments import labels
from ..arguments.binding import Binder
from ..arguments.canonical import Form
from ..options.policy import Policy

#: Values by the names that labels and tags may show.
ByName = Callable[[Sequence[Any], Sequence[Any]], dict[str, Any]]


def compile_label(task: str, binder: Binder, policy: Policy, json: Form) -> Callable[..., str]:
    """Return the function that makes the label of a call of its values, vary headers and form.

    Args:
        task: The task's name.
        binder: Binds arguments to its parameters.
        policy: Its policy.
        json: The form of arguments in a JSON message.

    Raises:
        ConfigurationError: The template of ``cache_key`` is wrong.
    """
    key = policy.key
    if key is None:
        return lambda *_: ""
    if callable(key):
        call = binder.call
        return lambda values, *_: labels.from_callable(call(key, values), json)
    try:
        label = labels.template(key, _names(binder, policy), option="cache_key")
    except ValueError as error:
        raise ConfigurationError(f"task {task!r}: {error}") from None
    by_name = _by_name(binder, policy)
    return lambda values, vary, form: label(by_name(values, vary), form)


def compile_tags(task: str, binder: Binder, policy: Policy) -> Callable[..., tuple[str, ...]]:
    """Return the function that makes the tags of a call, likewise.

    Raises:
        ConfigurationError: A template of ``cache_tags`` is wrong.
    """
    tags = policy.tags
    if callable(tags):
        call = binder.call
        return lambda values, *_: labels.tags_of_callable(call(tags, values))
    if not tags:
        return lambda *_: ()
    try:
        names = _names(binder, policy)
        compiled = [labels.tag(text, names, option="cache_tags") for text in tags]
    except ValueError as error:
        raise ConfigurationError(f"task {task!r}: {error}") from None
    by_name = _by_name(binder, policy)

    def tags_of(values: Sequence[Any], vary: Sequence[Any], form: Form) -> tuple[str, ...]:
        shown = by_name(values, vary)
        return tuple(tag(shown, form) for tag in compiled)

    return tags_of


def _names(binder: Binder, policy: Policy) -> tuple[str, ...]:
    """Return the names that labels and tags may show: those that are part of the key."""
    kept = (n for n in binder.names if n not in policy.ignore)
    return (*kept, *policy.vary)


def _by_name(binder: Binder, policy: Policy) -> ByName:
    names = (*binder.names, *policy.vary)
    return lambda values, vary: dict(zip(names, (*values, *vary), strict=True))
