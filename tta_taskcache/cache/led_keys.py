"""The keys that are being computed further up: calls made in there don't wait for them (C7).

They travel with the messages that a run sends: whoever waits inside a task for another one, would
else wait for a follower of its own run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: The name in our header.
WITHIN = "within"

#: So many are sent along, of the innermost ones: a run that sends its own successor, which sends
#: another, waits for none of them.
MOST_SENT = 32

#: Seconds that a call waits for another although its own caller leads a key that comes later: two
#: runs may have called each other's.
AGAINST_ORDER = 10.0

#: Each key with the id of the task that leads it, outermost first.
_led: ContextVar[tuple[tuple[str, str | None], ...]] = ContextVar("taskcache_led", default=())


def led_keys(outer: Sequence[str] = ()) -> frozenset[str]:
    """The keys that are computed by callers of the code that runs here.

    Args:
        outer: Those that the running task's message said are computed further up.
    """
    return frozenset((*outer, *(key for key, _ in _led.get())))


@contextmanager
def leading(key: str, task_id: str | None, outer: Collection[str] = ()) -> Iterator[None]:
    """Inside, a key is computed.

    Args:
        key: The key.
        task_id: Id of the task that computes it, if one does.
        outer: The keys that its message said are computed further up.
    """
    token = _led.set((*_led.get(), *((other, None) for other in outer), (key, task_id)))
    try:
        yield
    finally:
        _led.reset(token)


def sent_along(task_id: str | None, outer: Sequence[str] = ()) -> list[str]:
    """The keys that go along with a message.

    Args:
        task_id: The message's. A task that retries or replaces itself has ended when its message
            comes, and doesn't wait for it.
        outer: The keys that the message of the task that sends it said are computed further up.
    """
    led = [key for key, by in _led.get() if by is None or by != task_id]
    return list(dict.fromkeys((*outer, *led)))[-MOST_SENT:]


def within(cache_header: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that a message says are computed further up, outermost first."""
    keys = cache_header.get(WITHIN)
    if not isinstance(keys, Sequence) or isinstance(keys, str):
        return ()
    return tuple(key for key in keys if isinstance(key, str))


def waits_at_most(key: str, led: Collection[str], most: float) -> float:
    """Seconds that a call may wait for an equal one, without a chance that all wait for ever.

    Runs that wait for one another in a circle lead a key each, and at least one of them waits for
    one that comes before its own.

    Args:
        key: The call's key.
        led: The keys that are computed by its callers.
        most: Seconds that it may wait otherwise.
    """
    if key in led:
        return 0.0
    return min(most, AGAINST_ORDER) if any(key < other for other in led) else most
