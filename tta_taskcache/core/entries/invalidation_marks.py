"""The marks of an invalidation: what ``invalidate()`` was given, in the log's terms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from . import glob, marks


class Named(Protocol):
    """A task, by its name."""

    name: str


#: Characters of a key or a task's name: all processes read the log of invalidations.
MAX_NAME = 10_000


def read_marks(
    key: str | None, task: str | Named | None, tags: Any, pattern: Any
) -> tuple[str, ...]:
    """Read the arguments of ``invalidate()`` into marks.

    Raises:
        ValueError: No argument was given, ``tags`` is empty, or one is too long.
        TypeError: ``tags`` isn't a collection of strings, or another argument no string.
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
    task_name: Any = getattr(task, "name", task)  # a string has none
    _check_name("key", key)
    _check_name("task", task_name)
    names: list[str] = []
    if task_name is not None:
        names.append(marks.of_task(task_name))
    if key is not None:
        names.append(marks.of_key(key))
    names.extend(map(marks.of_tag, tags or ()))
    if pattern is not None:
        names.append(marks.of_pattern(pattern))
    if not names:
        raise ValueError("invalidate(tags=[]): names no tag")
    return tuple(names)


def _check_name(what: str, name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"invalidate({what}={name!r}): must be a string")
    if isinstance(name, str) and len(name) > MAX_NAME:
        raise ValueError(
            f"invalidate({what}={name[:40]!r}…): {len(name):,} characters; at most {MAX_NAME:,}"
        )


def _is_names(tags: object) -> bool:
    return (
        isinstance(tags, Collection)
        and not isinstance(tags, str)
        and all(isinstance(tag, str) for tag in tags)
    )
