"""The stored results of a primitive: read, written, listed and invalidated, and nothing run."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from random import random
from typing import Any

from ...cache.engine.lookup_record import record_lookup
from ...cache.event_loops.async_read_through import DIRECT
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.runs.current_run import depend_on_hit
from ...cache.runs.hit_value import value_of
from ...cache.runs.request_directives import REFRESH, mode_in_force, read_max_age
from ...core.entries import marks
from ...core.events import Lookup
from ...core.options.policy import Policy
from ...core.results.missing import MISSING
from ...errors import CacheError, UncacheableCall
from ...semantic.neighbour_lookup import CallNeighbours
from ..definition.primitive_keys import KeyerOfPrimitive, PrimitiveKey
from ..definition.primitive_runtime import PrimitiveRuntime
from ..definition.semantic_calls import SemanticCalls
from ..definition.sources import context_or_new

#: Most seconds that a blocking method waits for Redis when it blocks an event loop.
IN_LOOP = 0.015


class StoredResults:
    """What a ``CachePrimitive`` has stored.

    Methods whose names begin with ``a`` never block the event loop. The others are for code without
    one; in a loop they wait for Redis for 15 ms at most, and memory takes no time.
    """

    name: str
    _policy: Policy
    _keyer: KeyerOfPrimitive
    _runtime: PrimitiveRuntime
    _semantic: SemanticCalls
    _timeout: float
    _raises: bool

    async def aget(
        self,
        data: Any,
        context: Any = None,
        *,
        max_age: float | timedelta | None = None,
        semantic: float | bool | None = None,
    ) -> Any:
        """Return the stored result, or ``MISSING``, which is false; run nothing.

        Args:
            data: The data.
            context: A ``WorkflowContext``.
            max_age: As of ``execute``.
            semantic: As of ``execute``.
        """
        context = context_or_new(context)
        call = self._call_to_read(data, context, max_age)
        if call is None:
            return MISSING
        neighbours = self._semantic.neighbours(data, context, semantic)
        return await self._runtime.cache.run(self._find(call, neighbours))

    def get(
        self,
        data: Any,
        context: Any = None,
        *,
        max_age: float | timedelta | None = None,
        semantic: float | bool | None = None,
    ) -> Any:
        """Do as ``aget``, for code without an event loop; in a loop by the exact key only."""
        context = context_or_new(context)
        call = self._call_to_read(data, context, max_age)
        if call is None:
            return MISSING
        neighbours = self._semantic.neighbours(data, context, semantic)
        find = self._find(call, None if _in_loop() else neighbours)
        return self._runtime.run(find, self._patience())

    async def aset(self, data: Any, value: Any, context: Any = None) -> bool:
        """Store a result as if the primitive had just returned it; return whether it was stored."""
        context = context_or_new(context)
        call = self._call(data, context)
        if call is None:
            return False
        neighbours = self._semantic.neighbours(data, context, None)
        return await self._runtime.cache.run(self._store(call, value, neighbours))

    def set(self, data: Any, value: Any, context: Any = None) -> bool:
        """Do as ``aset``, for code without an event loop; in a loop for the exact key only."""
        context = context_or_new(context)
        call = self._call(data, context)
        if call is None:
            return False
        neighbours = None if _in_loop() else self._semantic.neighbours(data, context, None)
        return self._runtime.run(self._store(call, value, neighbours), self._patience())

    def key(self, data: Any, context: Any = None) -> PrimitiveKey:
        """Return the key of a call, as ``invalidate`` takes it.

        Raises:
            UncacheableCall: The call can't have a key.
        """
        return self._keyer.shown(self._keyer.identify(data, context_or_new(context)).key)

    async def akeys(self, pattern: str = "*") -> list[PrimitiveKey]:
        """Return the keys of stored entries that match a glob, as ``key_fn`` returned them.

        Raises:
            StoreUnavailable: Redis can't be read.
        """
        return await self._runtime.cache.run(self._keys(pattern))

    def keys(self, pattern: str = "*") -> list[PrimitiveKey]:
        """Do as ``akeys``, for code without an event loop."""
        return self._runtime.run(self._keys(pattern), self._timeout)

    async def ainvalidate(
        self,
        *,
        key: Any = MISSING,
        tags: Collection[str] = (),
        pattern: str | None = None,
        soft: bool = False,
    ) -> None:
        """End all entries that any argument names, at once and in all processes.

        Args:
            key: As ``key_fn`` returns it.
            tags: All entries with any of these tags, of whatever primitive in this place.
            pattern: All whose keys match this glob.
            soft: Make them stale instead: served while one refresh runs, where the primitive has
                a stale window.

        Raises:
            ValueError: Nothing was named.
            StoreUnavailable: It was not acknowledged: it may or may not have happened.
        """
        await self._runtime.cache.run(self._invalidate(key, tags, pattern, soft=soft))

    def invalidate(
        self,
        *,
        key: Any = MISSING,
        tags: Collection[str] = (),
        pattern: str | None = None,
        soft: bool = False,
    ) -> None:
        """Do as ``ainvalidate``, for code without an event loop."""
        self._runtime.run(self._invalidate(key, tags, pattern, soft=soft), self._patience())

    async def aclear(self) -> None:
        """End all entries of this primitive.

        Raises:
            StoreUnavailable: It was not acknowledged.
        """
        await self._runtime.cache.run(self._runtime.engine.invalidate((marks.of_task(self.name),)))

    def clear(self) -> None:
        """Do as ``aclear``, for code without an event loop."""
        names = (marks.of_task(self.name),)
        self._runtime.run(self._runtime.engine.invalidate(names), self._patience())

    def _call_to_read(self, data: Any, context: Any, max_age: Any) -> Call | None:
        """Return a call that only reads; None when nothing stored may answer it."""
        mode, block_age = mode_in_force.get()
        if mode in (REFRESH, "bypass"):
            return None
        return self._call(data, context, block_age if max_age is None else max_age)

    def _call(self, data: Any, context: Any, max_age: Any = None) -> Call | None:
        """Return the call; None when it isn't to be cached, or can't be.

        Raises:
            ValueError: The age is none.
        """
        max_age = read_max_age(max_age, "max_age")
        if not self._policy.enabled:
            return None
        try:
            identity = self._keyer.identify(data, context)
        except UncacheableCall as error:
            self._runtime.engine.parts.observe(Lookup(self.name, None, DIRECT, None, error.reason))
            if self._raises:
                raise CacheError(self.name, str(error)) from error
            return None
        verify = bool(self._policy.verify) and random() < self._policy.verify  # noqa: S311 - a sample
        return Call(self.name, identity.key, self._policy, identity.tags, verify, max_age)

    def _be_strict(self, reason: str) -> None:
        if self._raises:
            raise CacheError(self.name, reason)

    def _find(self, call: Call, neighbours: CallNeighbours | None) -> Plan[Any]:
        engine = self._runtime.engine
        found: Hit | Miss = yield from engine.reader.find(replace(call, verify=False))
        record_lookup(engine.parts.observe, call, DIRECT, found)
        if isinstance(found, Miss) and found.position is None:
            self._be_strict(found.reason)
        elif isinstance(found, Miss) and neighbours is not None:
            near = yield from neighbours.find(replace(call, verify=False))
            found = near or found
        if isinstance(found, Miss):
            return MISSING
        depend_on_hit(call, found, engine.parts.log)
        return value_of(self._policy, found)

    def _store(self, call: Call, value: Any, neighbours: CallNeighbours | None) -> Plan[bool]:
        writer = self._runtime.engine.writer
        position = yield from writer.position(call)
        is_stored = yield from writer.fill(
            call, position, value, run_seconds=0.0, task_id=None, replaces=True
        )
        if is_stored and neighbours is not None:
            yield from neighbours.add(call)
        return is_stored

    def _keys(self, pattern: str) -> Plan[list[PrimitiveKey]]:
        found: dict[str, PrimitiveKey] = {}
        for glob in self._keyer.patterns(pattern):
            cursor = ""
            while True:
                batch = yield from self._runtime.engine.scan(glob, cursor)
                for item in batch.found:
                    found[item.entry.key] = self._keyer.shown(item.entry.key)
                cursor = batch.cursor
                if not cursor:
                    break
        return list(found.values())

    def _invalidate(
        self, key: Any, tags: Collection[str], pattern: str | None, *, soft: bool
    ) -> Plan[None]:
        if isinstance(tags, str):
            raise TypeError(f"tags must be a collection of strings; write [{tags!r}]")
        names = [marks.of_tag(tag) for tag in tags]
        keys: tuple[str, ...] = ()
        if key is not MISSING:
            stored = self._keyer.stored(key)
            if stored is None:
                names += map(marks.of_pattern, self._keyer.variants(key))
            else:
                names.append(marks.of_key(stored))
                keys = (stored,)
        if pattern is not None:
            names += map(marks.of_pattern, self._keyer.patterns(pattern))
        if not names:
            raise ValueError("name what is to be invalidated: key, tags or pattern")
        if soft:
            names, keys = list(map(marks.soft, names)), ()
        yield from self._runtime.engine.invalidate(tuple(names), keys)

    def _patience(self) -> float:
        """Return the seconds that a blocking method may wait for a command."""
        return min(self._timeout, IN_LOOP) if _in_loop() else self._timeout


def _in_loop() -> bool:
    """Whether the caller runs in an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
