"""Keys: what identifies a call (promises K1 to K4).

A key reads ``task:label:digest``. The digest (BLAKE2b, 128 bits) covers the key format, the task's
name and version, its parameter names, the vary headers and all arguments that aren't ignored. The
label is for people and patterns; it never replaces an argument.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError, MissingContext
from . import labels, traits
from .binding import Binder
from .canonical import Reduce, canonical
from .policy import SOURCE, Policy

#: Changes whenever equal calls would get other keys than before.
KEY_FORMAT = 1

DIGEST_BYTES = 16


def source_version(function: Callable[..., Any]) -> str:
    """A digest of the function's source code.

    Raises:
        OSError: The source isn't available.
    """
    source = inspect.getsource(inspect.unwrap(function))
    return hashlib.blake2b(source.encode(), digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies a call, and the tags under which its entry can be invalidated."""

    key: str
    tags: tuple[str, ...]


class Keyer:
    """Computes the keys of one task.

    Args:
        task: The task's name.
        binder: Binds arguments to the task's parameters; None while it has no ``run`` (a base
            class), which only validates the policy.
        policy: Its policy.
        reduce: How messages carry types unknown to the canonical form.
        source: The function whose source ``cache_version="source"`` follows.

    Raises:
        ConfigurationError: The policy names arguments that the task doesn't have, or wants the
            source of a task that has none.
    """

    def __init__(
        self,
        task: str,
        binder: Binder | None,
        policy: Policy,
        reduce: Reduce,
        *,
        source: Callable[..., Any],
    ) -> None:
        self.task = task
        self.policy = policy
        self._reduce = reduce
        if binder is None:
            return
        self.binder = binder
        self._label = self._compile_label()
        self._tags = self._compile_tags()
        self._kept = tuple(i for i, n in enumerate(binder.names) if n not in policy.ignore)
        names = [binder.names[i] for i in self._kept]
        version = self._version(source)
        identity = [KEY_FORMAT, task, version, names, policy.vary]
        #: What the parts of a call's traits are about.
        self.subjects = traits.subjects(names, policy.vary)
        self._constants = ([names, policy.vary], version)
        self._base = hashlib.blake2b(canonical(identity), digest_size=DIGEST_BYTES)
        self._prefix = labels.escape(task)

    def identify(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], headers: Mapping[str, Any]
    ) -> Identity:
        """Return the key and the tags of a call.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: The context headers in force for the call.

        Raises:
            WrongArguments: The arguments don't fit the task's signature.
            MissingContext: A declared vary header has no value.
            UnkeyableArgument: An argument or header has no canonical form.
        """
        values = self.binder.values(args, kwargs)
        vary = [self._header(name, headers) for name in self.policy.vary]
        digest = self._base.copy()
        digest.update(canonical([vary, [values[i] for i in self._kept]], self._reduce))
        label = self._label(values, vary)
        key = labels.SEPARATOR.join(filter(None, (self._prefix, label, digest.hexdigest())))
        return Identity(key, self._tags(values, vary))

    def traits(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        secret: bytes = b"",
    ) -> str:
        """Return the traits of a call that has a key: what its entry keeps to be compared with.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: The context headers in force for the call.
            secret: Makes digests of arguments useless to whoever doesn't have it.

        Raises:
            UncacheableCall: As ``identify``.
        """
        values = self.binder.values(args, kwargs)
        parts = (
            *self._constants,
            *(self._header(name, headers) for name in self.policy.vary),
            *(values[i] for i in self._kept),
        )
        return traits.make((canonical(part, self._reduce) for part in parts), secret)

    def _header(self, name: str, headers: Mapping[str, Any]) -> Any:
        value = headers.get(name)
        if value is None:
            raise MissingContext(
                f"task {self.task!r} varies on header {name!r}, which this call doesn't have: "
                f"pass headers={{{name!r}: …}} or call inside cache.context({name}=…)"
            )
        return value

    def _version(self, function: Callable[..., Any]) -> str:
        if self.policy.version != SOURCE:
            return self.policy.version
        try:
            return f"{SOURCE}:{source_version(function)}"
        except (OSError, TypeError):
            raise ConfigurationError(
                f"task {self.task!r}: cache_version='source': its source code isn't available; "
                "give a version of your own"
            ) from None

    def _compile_label(self) -> Callable[..., str]:
        key = self.policy.key
        if key is None:
            return lambda *_: ""
        if callable(key):
            call = self.binder.call
            return lambda values, _: labels.from_callable(call(key, values), self._reduce)
        try:
            label = labels.template(key, self._names(), option="cache_key", reduce=self._reduce)
        except ValueError as error:
            raise ConfigurationError(f"task {self.task!r}: {error}") from None
        return lambda values, vary: label(self._by_name(values, vary))

    def _compile_tags(self) -> Callable[..., tuple[str, ...]]:
        tags = self.policy.tags
        if callable(tags):
            call = self.binder.call
            return lambda values, _: labels.tags_of_callable(call(tags, values))
        if not tags:
            return lambda *_: ()
        try:
            compiled = [
                labels.tag(text, self._names(), option="cache_tags", reduce=self._reduce)
                for text in tags
            ]
        except ValueError as error:
            raise ConfigurationError(f"task {self.task!r}: {error}") from None

        def tags_of(values: Sequence[Any], vary: Sequence[Any]) -> tuple[str, ...]:
            by_name = self._by_name(values, vary)
            return tuple(tag(by_name) for tag in compiled)

        return tags_of

    def _names(self) -> tuple[str, ...]:
        """What labels and tags may show: whatever is part of the call's identity."""
        kept = (n for n in self.binder.names if n not in self.policy.ignore)
        return (*kept, *self.policy.vary)

    def _by_name(self, values: Sequence[Any], vary: Sequence[Any]) -> dict[str, Any]:
        return dict(zip((*self.binder.names, *self.policy.vary), (*values, *vary), strict=True))
