"""Every error the library raises, in one tree.

::

    TaskCacheError
    ├── ConfigurationError (ValueError)   a wrong setting or task option
    ├── CacheMiss (LookupError)           ``cache="only"`` found nothing
    ├── CacheError                        the cache can't be used, and ``on_error="raise"``
    ├── UncacheableCall                   a call has no key …
    │   ├── MissingContext (LookupError)  … a declared vary header has no value
    │   ├── ConflictingContext            … or has two
    │   ├── WrongArguments (TypeError)    … its arguments don't fit the task
    │   │   └── BatchArgumentError        … that of ``cache_each`` is no list
    │   ├── UnkeyableArgument (TypeError) … an argument has no canonical form
    │   └── TooManyTags (ValueError)      … it has more tags than an entry may have
    ├── BatchResultError (ValueError)     a run with ``cache_each`` hasn't a result for each item
    ├── EntryError                        stored bytes that can't be used (a miss, counted)
    ├── OversizedResult (ValueError)      a result larger than ``cache_max_bytes`` (likewise)
    ├── UnserializableResult (TypeError)  a result that the serializer can't carry (likewise)
    └── StoreUnavailable                  Redis did not answer in time …
        ├── CircuitOpen                   … or wasn't asked, shortly after it didn't answer
        ├── StoreRefused                  … or answered with an error (out of memory, read-only)
        └── NotReplicated                 … or did it, but too few replicas acknowledged it

Only ``ConfigurationError``, ``CacheMiss``, the two of batches, errors of direct calls to
``task.cache`` and ``StoreUnavailable`` from ``invalidate()`` and the other management calls reach
users: a fault of the cache never fails a task.
"""

from __future__ import annotations

from typing import Any


class TaskCacheError(Exception):
    """Base of all errors of this library."""


class ConfigurationError(TaskCacheError, ValueError):
    """A setting or task option is wrong; the message names it and what is allowed."""


class NotModifiedError(TaskCacheError):
    """A run has returned ``NOT_MODIFIED``, and there is no previous result to renew."""


class CacheMiss(TaskCacheError, LookupError):
    """A call with ``cache="only"`` found no entry; nothing was sent."""


class CacheError(TaskCacheError):
    """A primitive with ``on_error="raise"`` can't use its cache; nothing was run.

    Attributes:
        reason: The word under which it is counted.
    """

    def __init__(self, primitive: str, reason: str) -> None:
        super().__init__(f"primitive {primitive!r}: the cache can't be used: {reason}")
        self.primitive = primitive
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by its arguments."""
        return type(self), (self.primitive, self.reason)


class BatchResultError(TaskCacheError, ValueError):
    """A run with ``cache_each`` hasn't returned a result for each item; nothing was stored."""


class UncacheableCall(TaskCacheError):
    """The call has no key, so it runs and isn't stored.

    Attributes:
        reason: The word under which it is counted.
    """

    reason = "uncacheable"


class MissingContext(UncacheableCall, LookupError):
    """A header named in ``cache_vary`` has no value for this call."""

    reason = "missing-context"


class ConflictingContext(UncacheableCall):
    """A header named in ``cache_vary`` has two values in the call's message."""

    reason = "conflicting-context"

    def __init__(self, task: str, header: str) -> None:
        super().__init__(
            f"task {task!r} varies on header {header!r}, which its message has twice, with two "
            "values: the sender handed on the headers of another message"
        )


class WrongArguments(UncacheableCall, TypeError):
    """The arguments don't fit the task's signature; calling the task raises ``TypeError``, too."""

    reason = "wrong-arguments"


class BatchArgumentError(WrongArguments):
    """The argument that ``cache_each`` names is neither a list nor a tuple."""

    reason = "not-a-list"


class UnkeyableArgument(UncacheableCall, TypeError):
    """An argument has no canonical form, so no key can be computed."""

    reason = "unkeyable-argument"


class TooManyTags(UncacheableCall, ValueError):
    """The call has more tags than an entry may have."""

    reason = "too-many-tags"


class EntryError(TaskCacheError):
    """The stored bytes are no entry that this process may use: a miss.

    Attributes:
        reason: The word under which it is counted, such as ``"corrupt"``, ``"format"`` or
            ``"signature"``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class UnserializableResult(TaskCacheError, TypeError):
    """The task's cache serializer can't carry this result."""


class OversizedResult(TaskCacheError, ValueError):
    """The serialized result is larger than ``cache_max_bytes``.

    Attributes:
        size: Its size in bytes.
    """

    def __init__(self, size: int, allowed: int) -> None:
        super().__init__(f"{size:,} bytes, cache_max_bytes allows {allowed:,}")
        self.size = size


class StoreUnavailable(TaskCacheError):
    """The store did not answer within its timeout, or the circuit is open."""


class CircuitOpen(StoreUnavailable):
    """The circuit is open: the store has just failed to answer, and wasn't asked."""


class StoreRefused(StoreUnavailable):
    """The store answered with an error: it can be reached, and refuses the command."""


class NotReplicated(StoreUnavailable):
    """The primary has carried out the invalidation; too few replicas acknowledged it in time.

    It is in force. Only a failover to a replica that doesn't have it yet could undo it.

    Attributes:
        acknowledged: Number of replicas that acknowledged it.
        wanted: Number of replicas that had to (``taskcache_wait_replicas``).
    """

    def __init__(self, store: str, acknowledged: int, wanted: int) -> None:
        super().__init__(
            f"{store}: the invalidation happened on the primary, "
            f"but {acknowledged} of {wanted} replicas acknowledged it in time"
        )
        self.acknowledged = acknowledged
        self.wanted = wanted

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by store name and figures: pool processes pickle what tasks raise."""
        store = str(self).split(": the invalidation", 1)[0]
        return type(self), (store, self.acknowledged, self.wanted)
