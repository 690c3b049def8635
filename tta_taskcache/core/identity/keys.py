"""Keys: what identifies a call (promises K1 to K4).

A key reads ``task:label:digest``. The digest (BLAKE2b, 128 bits) covers the key format, the task's
name and version, its parameter names, the vary headers and all arguments that aren't ignored. The
label is for people and patterns; it never replaces an argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import ConfigurationError, MissingContext, UnkeyableArgument
from ..arguments import labels
from ..arguments.batch_items import read_items
from ..arguments.binding import Binder
from ..arguments.canonical import EXACT, Form, Reduce, canonical, carried_text, unordered
from ..arguments.default_value import unwrapped
from ..options.policy import Policy
from ..record import record
from ..semantic.partition import MAX_TEXT, SemanticCall, digest
from . import traits
from .labelling import compile_label, compile_tags
from .task_version import DIGEST_BYTES, version_of

#: Changes whenever equal calls would get other keys than before.
KEY_FORMAT = 2


@record
class Identity:
    """The key of a call, and the tags under which its entry can be invalidated."""

    key: str
    tags: tuple[str, ...]


class Keyer:
    """Computes the keys of one task.

    Args:
        task: The task's name.
        binder: Binds arguments to the task's parameters; None for a base class without ``run``,
            whose policy is only validated.
        policy: Its policy.
        reduce: Reduces values to JSON's types as JSON messages do.
        models: Parameters that the body gets as pydantic models, each with a function that returns
            the fields of a value's model, or raises ``ValueError``.
        source: The function whose source ``cache_version="source"`` follows.
        secret: Key of the digests: without it, arguments can't be found by trying.

    Raises:
        ConfigurationError: The policy names arguments that the task doesn't have, or the source
            that ``cache_version="source"`` follows isn't available.
    """

    def __init__(
        self,
        task: str,
        binder: Binder | None,
        policy: Policy,
        reduce: Reduce,
        *,
        source: Callable[..., Any],
        models: Mapping[str, Callable[[Any], Any]] | None = None,
        secret: bytes = b"",
    ) -> None:
        self.task = task
        self.policy = policy
        #: The form of arguments in a JSON message.
        self.json = Form(exact=False, reduce=reduce)
        #: Arguments that a JSON message has carried.
        self.from_json = Form(exact=True, reduce=reduce)
        self._models = models or {}
        if binder is None:
            return
        self.binder = binder
        self._label = compile_label(task, binder, policy, self.json)
        self._tags = compile_tags(task, binder, policy)
        self._star = binder.star
        self._kept = tuple(i for i, n in enumerate(binder.names) if n not in policy.ignore)
        names = [binder.names[i] for i in self._kept]
        version = version_of(task, policy, source)
        identity = [KEY_FORMAT, task, version, names, list(policy.vary)]
        #: The subject of each part of a call's traits.
        self.subjects = traits.subjects(names, policy.vary)
        self._constants = ([names, list(policy.vary)], version)
        self._base = hashlib.blake2b(canonical(identity), key=secret, digest_size=DIGEST_BYTES)
        self._base_without_vary = self._base.copy()
        self._base_without_vary.update(canonical([]))
        self._prefix = labels.escape(task)
        self._compared = self._index_of_text()
        self._each = self._index_of_list()
        #: Whether callables of the policy take arguments, which they get as the body does.
        self.shows_arguments = callable(policy.key) or callable(policy.tags)

    def identify(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        form: Form = EXACT,
    ) -> Identity:
        """Return the key and the tags of a call.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: The context headers in force for the call.
            form: The form in which the arguments reach the body.

        Raises:
            WrongArguments: The arguments don't fit the task's signature.
            MissingContext: A declared vary header has no value.
            UnkeyableArgument: An argument or header has no canonical form.
        """
        values = self.binder.values(args, kwargs)
        return self._identity(values, *self._begin(headers), form)

    def identify_each(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        form: Form = EXACT,
    ) -> list[Identity]:
        """Return key and tags of each item of a call with ``cache_each``.

        An item's are those of the call with the item itself in the place of the list.

        Args:
            args: As of ``identify``, and so are the others.
            kwargs: Likewise.
            headers: Likewise.
            form: Likewise.

        Raises:
            UncacheableCall: As ``identify``; or the argument is no list.
        """
        items, at = self.items(args, kwargs), self._index_of_items()
        values = list(self.binder.values(args, kwargs))
        vary, digest = self._begin(headers)
        identities = []
        for item in items:
            values[at] = item
            identities.append(self._identity(values, vary, digest.copy(), form))
        return identities

    def with_items(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], items: Any
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return arguments with these items, or with one item, in the place of the list."""
        return self.binder.with_value(args, kwargs, self._index_of_items(), items)

    def items(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        """Return the items of a call with ``cache_each``.

        Raises:
            WrongArguments: The arguments don't fit the task's signature.
            BatchArgumentError: The argument is no list.
        """
        at = self._index_of_items()
        value = unwrapped(self.binder.values(args, kwargs)[at])
        return read_items(self.task, self.binder.names[at], value)

    def _index_of_items(self) -> int:
        if self._each is None:
            raise TypeError(f"task {self.task!r} has no cache_each")
        return self._each

    def _begin(self, headers: Mapping[str, Any]) -> tuple[list[Any], hashlib.blake2b]:
        """Return the vary headers' values, and a digest that has them."""
        if not self.policy.vary:
            return [], self._base_without_vary.copy()
        vary = [self._header(name, headers) for name in self.policy.vary]
        digest = self._base.copy()
        digest.update(canonical(vary, self.json))
        return vary, digest

    def _identity(
        self, values: Sequence[Any], vary: Sequence[Any], digest: hashlib.blake2b, form: Form
    ) -> Identity:
        digest.update(self._canonical(values, form))
        label = self._label(values, vary, form)
        key = labels.SEPARATOR.join(filter(None, (self._prefix, label, digest.hexdigest())))
        return Identity(key, self._tags(values, vary, form))

    def _canonical(self, values: Sequence[Any], form: Form) -> bytes:
        if not self._models and self._star is None:
            return canonical([values[i] for i in self._kept], form)
        return b"".join(self._canonical_of(i, values[i], form) for i in self._kept)

    def _canonical_of(self, i: int, value: Any, form: Form) -> bytes:
        model = self._models.get(self.binder.names[i])
        if model is not None and (given := unwrapped(value)) is not None:
            try:
                # A model's sets are lists in a message, in an order that says nothing. A default is
                # in no message.
                sent = () if given is not value else (unordered(given),)
                return canonical([*sent, model(given)])
            except (ValueError, UnkeyableArgument):
                pass
        # ``*args`` collects a tuple, whatever the message carries.
        return canonical(list(value) if i == self._star else value, form)

    def traits(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        secret: bytes = b"",
        form: Form = EXACT,
    ) -> str:
        """Return the traits of a call that has a key, which its entry keeps for comparisons.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: The context headers in force for the call.
            secret: Key of the digests: without it, arguments can't be found by trying.
            form: The form in which the arguments reach the body.

        Raises:
            UncacheableCall: As ``identify``.
        """
        values = self.binder.values(args, kwargs)
        parts = (
            *(canonical(part) for part in self._constants),
            *(canonical(self._header(name, headers), self.json) for name in self.policy.vary),
            *(self._canonical_of(i, values[i], form) for i in self._kept),
        )
        return traits.make(parts, secret)

    def semantic_call(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        secret: bytes = b"",
        form: Form = EXACT,
    ) -> SemanticCall | None:
        """Return the text of a call, and the partition in which its neighbours are looked for.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: The context headers in force for the call.
            secret: Key of the partition's digest.
            form: The form in which the arguments reach the body.

        Returns:
            None when the call can't be compared: its argument is no text, an empty or too long one.

        Raises:
            UncacheableCall: As ``identify``.
        """
        semantic, at = self.policy.semantic, self._compared
        if semantic is None or at is None:
            return None
        values = list(self.binder.values(args, kwargs))
        value = unwrapped(values[at])
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
            return None
        text = carried_text(str.__str__(value), form)
        label = b""
        if callable(self.policy.key):  # it may show what is no part of the digest
            values[at] = ""
            label = self._label(values, (), form).encode()
        parts = [canonical([KEY_FORMAT, self.task, semantic.on, semantic.embedder_name]), label]
        parts += (canonical(part) for part in self._constants)
        parts += (canonical(self._header(name, headers), self.json) for name in self.policy.vary)
        parts += (self._canonical_of(i, values[i], form) for i in self._kept if i != at)
        return SemanticCall(digest(parts, secret), text)

    def _index_of_text(self) -> int | None:
        """Return the index of the argument whose text is compared; None without ``cache_semantic``.

        Raises:
            ConfigurationError: There is no such argument, or it is ignored.
        """
        semantic = self.policy.semantic
        if semantic is None:
            return None
        allowed = [self.binder.names[i] for i in self._kept]
        if semantic.on not in allowed:
            raise ConfigurationError(
                f"task {self.task!r}: cache_semantic: on={semantic.on!r} is no argument that is "
                f"part of the key; allowed: {', '.join(allowed) or 'none'}"
            )
        return self.binder.names.index(semantic.on)

    def _index_of_list(self) -> int | None:
        """Return the index of the argument whose items are cached; None without ``cache_each``.

        Raises:
            ConfigurationError: There is no such argument, it is ignored, or it is no list.
        """
        name = self.policy.each
        if name is None:
            return None
        names = self.binder.names
        allowed = [names[i] for i in self._kept if i in self.binder.plain]
        allowed = [each for each in allowed if each not in self._models]
        if name not in allowed:
            raise ConfigurationError(
                f"task {self.task!r}: cache_each={name!r} is no argument that takes a list and is "
                f"part of the key; allowed: {', '.join(allowed) or 'none'}"
            )
        return names.index(name)

    def _header(self, name: str, headers: Mapping[str, Any]) -> Any:
        value = headers.get(name)
        if value is None:
            raise MissingContext(
                f"task {self.task!r} varies on header {name!r}, which this call doesn't have: "
                f"pass headers={{{name!r}: …}} or call inside cache.context({name}=…)"
            )
        return value
