"""The nearest entry of a call that missed: the stored call of its task that differs least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.arguments.labels import SEPARATOR, escape
from ...core.identity import traits
from ...core.record import record

if TYPE_CHECKING:
    from ..config.runtime import Runtime

#: Most entries of the task that are compared, and most batches of keys that are read for them.
MAX_ENTRIES = 1_000
MAX_BATCHES = 200


@record
class Nearest:
    """The stored call that differs least from one that missed.

    Attributes:
        key: Its key.
        differs: The differences: ``argument 'city'``, ``header 'tenant'``, ``cache_version``, or
            the task's parameters themselves.
        age: Seconds since its result was stored.
        task_id: Id of the task that computed it.
    """

    key: str
    differs: tuple[str, ...]
    age: float
    task_id: str | None


@record
class NearestSearch:
    """The result of a search for the nearest entry.

    Attributes:
        nearest: The nearest entry, of several the newest; None when there is none to compare with.
        compared: Number of entries of the task that were compared.
        is_complete: Whether all entries of the task were compared.
    """

    nearest: Nearest | None = None
    compared: int = 0
    is_complete: bool = True

    def __str__(self) -> str:
        those = f"{self.compared:,} stored call{'s' * (self.compared != 1)} of this task"
        scope = f"of {those}" if self.is_complete else f"of the first {those} (there are more)"
        if self.nearest is None:
            return f"nothing to compare with ({scope})"
        return (
            f"the nearest {scope} differs in {', '.join(self.nearest.differs)}: {self.nearest.key}"
        )


def find_nearest(
    runtime: Runtime, task: str, about: Sequence[str], own: str, max_entries: int = MAX_ENTRIES
) -> NearestSearch:
    """Compare a call with the entries of its task, within bounds.

    Args:
        runtime: The cache.
        task: The task's name.
        about: The subject of each part of its traits.
        own: The traits of the call.
        max_entries: Most entries of the task that are compared.

    Raises:
        StoreUnavailable: The store can't be read.
    """
    best: tuple[int, float, Nearest] | None = None
    seen: set[str] = set()
    cursor = ""
    for _ in range(MAX_BATCHES):
        batch = runtime.run(runtime.engine.scan(f"{escape(task)}{SEPARATOR}*", cursor))
        for item in batch.found:
            entry = item.entry
            if entry.task != task or entry.key in seen:
                continue
            if len(seen) == max_entries:
                return NearestSearch(best[2] if best else None, len(seen), is_complete=False)
            seen.add(entry.key)
            differs = traits.differences(about, own, entry.traits)
            if not differs:
                continue
            age = max(0.0, entry.lifetime - item.remaining)
            many = len(about) if traits.SHAPE in differs else len(differs)
            if best is None or (many, age) < best[:2]:
                best = many, age, Nearest(entry.key, differs, age, entry.task_id)
        cursor = batch.cursor
        if not cursor:
            return NearestSearch(best[2] if best else None, len(seen))
    return NearestSearch(best[2] if best else None, len(seen), is_complete=False)
