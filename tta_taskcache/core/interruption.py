"""Interruptions: exceptions that may strike anywhere, and are the caller's (promise F8).

What strikes inside a serializer or a user's function comes out wrapped, or looks like its fault.
"""

from __future__ import annotations

import sys

Interruptions = tuple[type[BaseException], ...]


def handled_now() -> BaseException | None:
    """Return the exception that the surrounding code is handling, which is no news."""
    return sys.exc_info()[1]


def raise_interruption(
    error: BaseException, kinds: Interruptions, handled: BaseException | None
) -> None:
    """Raise the interruption that an error is, or was made from; return if there is none.

    Args:
        error: The error.
        kinds: The types of interruptions.
        handled: The exception that was handled before (``handled_now``).
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and cause is not handled and id(cause) not in seen:
        if isinstance(cause, kinds):
            raise cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
