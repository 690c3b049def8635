"""How the arguments of a call get to the body: what their message makes of them (promise K5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kombu import serialization
from kombu.exceptions import KombuError

from ...core.canonical import EXACT, Form
from ...core.keys import Keyer
from ...errors import UnkeyableArgument
from .cacheable_task import CacheableTask

#: The serializer whose messages carry arguments as they are.
PICKLE = "pickle"

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


def serializer_of(task: CacheableTask, chosen: str | None) -> str:
    """Name of the serializer of a call's message.

    Args:
        task: The task.
        chosen: What the call asks for, if it does.
    """
    return chosen or task.serializer or task.app.conf.task_serializer


def dumped(task: CacheableTask, args: Any, kwargs: Any, serializer: str) -> Arguments:
    """Arguments as Celery hands them to the serializer: it dumps pydantic models first."""
    dump = getattr(task, "_dump_pydantic_arguments", None)
    if dump is None or serializer == PICKLE:
        return args, kwargs
    args, kwargs = dump(args, kwargs)
    return args, kwargs


def in_message(args: Any, kwargs: Any, serializer: str, keyer: Keyer) -> tuple[Arguments, Form]:
    """Arguments and their form, for the key of a call that is sent.

    JSON's form is known without a trip. Functions of the policy, and other serializers, want one.

    Raises:
        UnkeyableArgument: The serializer can't carry them.
    """
    if serializer == PICKLE:
        return (args, kwargs), EXACT
    if serializer == "json" and not keyer.shows_arguments:
        return (args, kwargs), keyer.json
    return received(args, kwargs, serializer), EXACT


def may_be_pickled(task: CacheableTask) -> bool:
    """Whether the app's workers take messages that carry arguments as they are."""
    accepted = task.app.conf.accept_content
    return PICKLE in accepted or serialization.registry.name_to_type.get(PICKLE) in accepted


def received(args: Any, kwargs: Any, serializer: str) -> Arguments:
    """What a worker gets.

    Raises:
        UnkeyableArgument: The serializer can't carry them.
    """
    try:
        content_type, encoding, data = serialization.dumps((args, kwargs), serializer)
        got_args, got_kwargs = serialization.loads(
            data, content_type, encoding, accept={content_type}
        )
    except (KombuError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise UnkeyableArgument(f"{serializer} can't carry the arguments: {error}") from None
    return got_args, got_kwargs
