"""The keys of a primitive: what identifies data in a context (promises K1, K2).

A key reads ``name:label`` or ``name:label:digest``. The label is what ``key_fn`` returned, percent-
encoded, so that it can be read back; the digest is there when that isn't all there is to it.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from typing import Any, Protocol
from urllib.parse import quote, unquote

from ...core.arguments.canonical import EXACT, canonical
from ...core.arguments.labels import SEPARATOR, escape, shown, tags_of_callable
from ...core.identity.keys import Identity
from ...core.identity.task_version import DIGEST_BYTES
from ...core.options.policy import Policy
from ...core.semantic.partition import MAX_TEXT, SemanticCall, digest
from ...errors import MissingContext
from .workflow_context import WorkflowContext

#: Characters that a label shows as they are, beside letters, digits and ``_.-~``.
_SAFE = "@+=,"

#: Longer labels are cut; the digest tells them apart.
MAX_LABEL = 200

#: A function of data and context.
OfCall = Callable[[Any, WorkflowContext], Any]


class PrimitiveKey(str):
    """A key as ``key_fn`` returned it, or the beginning of a long one.

    Attributes:
        stored: The stored key.
    """

    __slots__ = ("stored",)
    stored: str


class KeyerOfPrimitive(Protocol):
    """Computes keys."""

    def identify(self, data: Any, context: Any, /) -> Identity:
        """Return the key and the tags of a call."""
        ...

    def semantic_call(self, data: Any, context: Any, secret: bytes, /) -> SemanticCall | None:
        """Return what a call is compared by with others; None when it can't be compared."""
        ...

    def stored(self, key: Any, /) -> str | None:
        """Return the stored key of a shown one; None when it has several."""
        ...

    def shown(self, stored: str, /) -> PrimitiveKey:
        """Return the shown key of a stored one."""
        ...

    def patterns(self, pattern: str, /) -> tuple[str, ...]:
        """Return the globs of stored keys for a glob of shown ones."""
        ...

    def variants(self, key: Any, /) -> tuple[str, ...]:
        """Return the globs of a key's stored keys, in all contexts."""
        ...


class PrimitiveKeyer:
    """Computes the keys of one primitive.

    Args:
        name: The primitive's name.
        policy: Its policy.
        key_fn: Says what identifies data in a context; None for the data and the user, if there
            is one. Data that are a text are the key then.
        vary: Names in the context that are part of the identity; None for the user's, if there is
            one and no ``key_fn``.
    """

    def __init__(
        self, name: str, policy: Policy, key_fn: OfCall | None, vary: Collection[str] | None
    ) -> None:
        self.name = name
        self._policy = policy
        self._key_fn = key_fn
        self._vary = None if vary is None else policy.vary
        self._prefix = escape(name)

    def identify(self, data: Any, context: WorkflowContext) -> Identity:
        """Return the key and the tags of a call.

        Raises:
            UncacheableCall: It can't have a key.
        """
        return Identity(self._key(*self._parts(data, context)), self._tags(data, context))

    def semantic_call(
        self, data: Any, context: WorkflowContext, secret: bytes
    ) -> SemanticCall | None:
        """Return the text of a call, and the partition in which its neighbours are looked for.

        The partition is what identifies the call, with its text taken out of the data: a
        ``key_fn`` is called once more, with an empty text in its place.

        Raises:
            UncacheableCall: It can't have a key.
        """
        semantic = self._policy.semantic
        if semantic is None:
            return None
        is_text = isinstance(data, str)
        text = data if is_text else data.get(semantic.on) if isinstance(data, Mapping) else None
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            return None
        rest = "" if is_text else {**data, semantic.on: ""}
        identity = [self.name, self._policy.version, semantic.on, semantic.embedder_name]
        parts = (canonical(identity), canonical([is_text, *self._parts(rest, context)]))
        return SemanticCall(digest(parts, secret), str.__str__(text))

    def _parts(self, data: Any, context: WorkflowContext) -> tuple[Any, list[Any]]:
        """Return what ``key_fn`` returns, or data that are a text, and all else that identifies."""
        given = self._key_fn(data, context) if self._key_fn is not None else None
        rest: list[Any] = [self._of_context(name, context) for name in self._vary or ()]
        if self._key_fn is None:
            given = data if type(data) is str else None
            rest += [] if given is not None else [data]
            rest += [] if self._vary is not None or context.user_id is None else [context.user_id]
        return given, rest

    def stored(self, key: Any) -> str | None:
        """Return the stored key of one that ``key_fn`` returned; None when it has several.

        Raises:
            ValueError: There is no ``key_fn``, and this is no text.
        """
        if isinstance(key, PrimitiveKey):
            return key.stored
        if self._key_fn is None and type(key) is not str:
            raise ValueError(f"{self.name!r} has no key_fn: give what its key(data) returns")
        return None if self._vary else self._key(key, [])

    def shown(self, stored: str) -> PrimitiveKey:
        """Return the key that ``key_fn`` returned for a stored one."""
        label = stored.removeprefix(self._prefix + SEPARATOR).partition(SEPARATOR)[0]
        key = PrimitiveKey(unquote(label, errors="replace") or stored.rpartition(SEPARATOR)[2])
        key.stored = stored
        return key

    def patterns(self, pattern: str) -> tuple[str, ...]:
        """Return the globs of stored keys for a glob of keys as ``key_fn`` returns them."""
        glob = f"{self._prefix}{SEPARATOR}{quote(pattern, safe=_SAFE + '*?[]^')}"
        return glob, f"{glob}{SEPARATOR}*"

    def variants(self, key: Any) -> tuple[str, ...]:
        """Return the globs of the stored keys of one that ``key_fn`` returned, in all contexts."""
        label = escape_whole(shown(key, EXACT))[:MAX_LABEL]
        return (f"{self._prefix}{SEPARATOR}{label}{SEPARATOR}*",)

    def _key(self, given: Any, rest: list[Any]) -> str:
        label = "" if given is None else escape_whole(shown(given, EXACT))
        is_whole = type(given) is str and 0 < len(label) <= MAX_LABEL and _is_text(given)
        parts = [self._prefix, label if is_whole else label[:MAX_LABEL]]
        if not is_whole or rest or self._policy.version:
            identity = canonical([self._policy.version, given, rest])
            parts.append(blake2b(identity, digest_size=DIGEST_BYTES).hexdigest())
        return SEPARATOR.join(parts)

    def _of_context(self, name: str, context: WorkflowContext) -> Any:
        value = context.get(name)
        if value is None:
            raise MissingContext(
                f"primitive {self.name!r} varies on {name!r}, which this context doesn't have: "
                f"pass WorkflowContext({name}=…)"
            )
        return value

    def _tags(self, data: Any, context: WorkflowContext) -> tuple[str, ...]:
        tags = self._policy.tags
        if callable(tags):
            return tags_of_callable(tags(data, context))
        if not tags:
            return ()
        values = _Values(data, context)
        return tuple(_FORMATTER.vformat(tag, (), values) for tag in tags)


def escape_whole(text: str) -> str:
    """Percent-encode a text, so that it can be read back."""
    return quote(text, safe=_SAFE, errors="replace")


def _is_text(text: str) -> bool:
    """Whether a text can be encoded; unpaired surrogates can't, and look alike in a label."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Values(Mapping[str, Any]):
    """The names of a tag's template: those in the data, else those in the context."""

    def __init__(self, data: Any, context: WorkflowContext) -> None:
        self._data = data if isinstance(data, Mapping) else {}
        self._context = context

    def __getitem__(self, name: str) -> str:
        value = self._data.get(name, self._context.get(name))
        if value is None:
            raise MissingContext(f"a tag names {name!r}, which neither data nor context has")
        return shown(value, EXACT)

    def __iter__(self) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


class _TagFormatter(string.Formatter):
    """Replaces names by values, without attributes and format specifications."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:  # noqa: ARG002 - its interface
        return kwargs[field_name], field_name


_FORMATTER = _TagFormatter()
