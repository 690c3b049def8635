"""The marks of an invalidation: what ``invalidate()`` was given, in the log's terms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from celery import Task

from ...core import glob, marks


def read_marks(
    key: str | None, task: str | Task | None, tags: Any, pattern: Any
) -> tuple[str, ...]:
    """Read the arguments of ``invalidate()`` into marks.

    Raises:
        ValueError: No argument was given, ``tags`` is empty, or the pattern is too long.
        TypeError: ``tags`` isn't a collection of strings, or ``pattern`` no string.
    """
    if key is None and task is None and tags is None and pattern is None:
        raise ValueError(
            "invalidate() needs key=, task=, tags= or pattern=; clear() invalidates everything"
        )
    if tags is not None and not _is_names(tags):
        raise TypeError(f"invalidate(tags={tags!r}): must be a collection of strings")
    if pattern is not None and (not isinstance(pattern, str) or not pattern):
        raise TypeError(f"invalidate(pattern={pattern!r}): must be a glob such as 'report:*'")
    if pattern is not None:
        glob.check(pattern)
    names: list[str] = []
    if task is not None:
        names.append(marks.of_task(task if isinstance(task, str) else task.name))
    if key is not None:
        names.append(marks.of_key(key))
    names.extend(map(marks.of_tag, tags or ()))
    if pattern is not None:
        names.append(marks.of_pattern(pattern))
    if not names:
        raise ValueError("invalidate(tags=[]): names no tag")
    return tuple(names)


def _is_names(tags: object) -> bool:
    return (
        isinstance(tags, Collection)
        and not isinstance(tags, str)
        and all(isinstance(tag, str) for tag in tags)
    )
