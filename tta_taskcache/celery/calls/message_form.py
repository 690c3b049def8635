"""The form of a call's arguments: what its message makes of them on the way to the body (K5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kombu import serialization
from kombu.exceptions import KombuError

from ...core.arguments.canonical import EXACT, Form
from ...core.identity.keys import Keyer
from ...core.interruption import handled_now, raise_interruption
from ...errors import UnkeyableArgument
from ..config.serializers import INTERRUPTIONS
from .cacheable_task import CacheableTask

#: The serializer whose messages carry arguments as they are.
PICKLE = "pickle"

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


def serializer_of(task: CacheableTask, chosen: str | None) -> str:
    """Return the name of the serializer of a call's message.

    Args:
        task: The task.
        chosen: The call's own serializer; None for the task's.
    """
    return chosen or task.serializer or task.app.conf.task_serializer


def sent(
    task: CacheableTask, args: Any, kwargs: Any, chosen: str | None, keyer: Keyer
) -> tuple[Arguments, Form]:
    """Return the arguments of a call that is sent, and their form, for its key.

    JSON's form is known without serializing. Callables of the policy and other serializers need the
    arguments as a worker gets them.

    Args:
        task: The task.
        args: Positional arguments, as the caller gave them.
        kwargs: Keyword arguments, likewise.
        chosen: The call's own serializer; None for the task's.
        keyer: Computer of the keys of the task's calls.

    Raises:
        UnkeyableArgument: The serializer can't carry them.
    """
    serializer = serializer_of(task, chosen)
    if serializer == PICKLE:
        return (args, kwargs), EXACT
    # Celery dumps pydantic models before it hands arguments to the serializer.
    if (dump := getattr(task, "_dump_pydantic_arguments", None)) is not None:
        args, kwargs = dump(args, kwargs)
    if serializer == "json" and not keyer.shows_arguments:
        return (args, kwargs), keyer.json
    return received(args, kwargs, serializer), EXACT


def may_be_pickled(task: CacheableTask) -> bool:
    """Whether the app's workers take messages that carry arguments as they are."""
    accepted = task.app.conf.accept_content
    return PICKLE in accepted or serialization.registry.name_to_type.get(PICKLE) in accepted


def received(args: Any, kwargs: Any, serializer: str) -> Arguments:
    """Serialize and deserialize arguments: return what a worker gets.

    Raises:
        UnkeyableArgument: The serializer can't carry them.
    """
    handled = handled_now()
    try:
        content_type, encoding, data = serialization.dumps((args, kwargs), serializer)
        got_args, got_kwargs = serialization.loads(
            data, content_type, encoding, accept={content_type}
        )
    except (KombuError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise_interruption(error, INTERRUPTIONS, handled)
        raise UnkeyableArgument(f"{serializer} can't carry the arguments: {error}") from None
    return got_args, got_kwargs
