"""Led keys: the keys of the runs that a call is nested in, which it doesn't wait for (promise C7).

They travel with the messages that a run sends: else a run that waits for one of these would wait
for a follower of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ...core.arguments.labels import escape

#: Their field in our header.
WITHIN = "within"

#: Most keys of a message, the innermost ones: a run that sends its own successor, which sends
#: another, waits for none of them.
MOST_SENT = 32

#: Seconds that a call waits against the order of keys, as its caller leads a later one: two runs
#: may wait for each other.
AGAINST_ORDER = 10.0

#: Each key with the id of the task that leads it, outermost first.
_led: ContextVar[tuple[tuple[str, str | None], ...]] = ContextVar("taskcache_led", default=())


def of_batches(task: str) -> str:
    """Return what stands for all keys that a run for a batch's items leads (``cache_each``).

    Calls of the task that such a run makes wait for none: a message couldn't carry so many keys.
    """
    return f"{escape(task)}:*"


def led_keys(outer: Sequence[str] = ()) -> frozenset[str]:
    """Return the keys of the runs that the current code is nested in.

    Args:
        outer: The led keys of the running task's message.
    """
    return frozenset((*outer, *(key for key, _ in _led.get())))


@contextmanager
def leading(key: str, task_id: str | None, outer: Collection[str] = ()) -> Iterator[None]:
    """Lead a key inside.

    Args:
        key: The key.
        task_id: Id of the task that runs; None for ``task.cache``.
        outer: The led keys of its message.
    """
    token = _led.set((*_led.get(), *((other, None) for other in outer), (key, task_id)))
    try:
        yield
    finally:
        _led.reset(token)


def sent_along(task_id: str | None, outer: Sequence[str] = ()) -> list[str]:
    """Return the led keys that a message carries.

    Args:
        task_id: The message's. A task that retries or replaces itself has ended when its message
            comes, and doesn't wait for it.
        outer: The led keys of the message of the task that sends it.
    """
    led = [key for key, by in _led.get() if by is None or by != task_id]
    return list(dict.fromkeys((*outer, *led)))[-MOST_SENT:]


def within(cache_header: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the led keys of a message, outermost first."""
    keys = cache_header.get(WITHIN)
    if not isinstance(keys, Sequence) or isinstance(keys, str):
        return ()
    return tuple(key for key in keys if isinstance(key, str))


def waits_at_most(key: str, led: Collection[str], most: float) -> float:
    """Return the seconds that a call may wait for an equal one, so that no circle waits for ever.

    Runs that wait for one another in a circle lead a key each, and at least one of them waits for
    one that comes before its own.

    Args:
        key: The call's key.
        led: The led keys of the call.
        most: Seconds that it may wait otherwise.
    """
    if key in led:
        return 0.0
    return min(most, AGAINST_ORDER) if any(key < other for other in led) else most
