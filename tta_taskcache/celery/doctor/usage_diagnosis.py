"""The diagnosis of usage: tasks that aren't worth caching, and other apps in the namespace."""

from __future__ import annotations

from collections.abc import Iterator

from ...observability.counters import TaskStats
from .facts import Facts, Finding, Level

#: Runs of a task from which on its counts mean something.
ENOUGH_RUNS = 20

#: Most tasks of other apps that are named.
NAMED = 5


def judge_usage(facts: Facts) -> Iterator[Finding]:
    """Yield findings on tasks that aren't worth caching, and on another app's in the namespace."""
    if not facts.policies:
        remedy = "give a task base=CachedTask, or name the right app (celery -A proj cache doctor)"
        yield Finding("Tasks", Level.ADVICE, "none is cached", remedy)
    for task in sorted(facts.policies):
        counted = facts.stats.get(task)
        if counted is not None and facts.policies[task].enabled:
            yield from _judge_task(task, counted)
    others = sorted(name for name in facts.stats if name and name not in facts.tasks)
    if others:
        shown = ", ".join(others[:NAMED]) + (" …" if len(others) > NAMED else "")
        yield Finding(
            "Namespace",
            Level.ADVICE,
            f"{facts.settings.namespace} has counts of tasks that this app doesn't have: {shown}. "
            "Unless they were removed or renamed, another app shares it: tasks of one name share "
            "entries, and clear() ends those of both",
            "give each app a taskcache_namespace of its own",
        )


def _judge_task(task: str, counted: TaskStats) -> Iterator[Finding]:
    about = f"Task {task}"
    remedy = "don't cache what is run for its effect: take base=CachedTask away"
    if counted.verified.get("different"):
        message = (
            f"{counted.verified['different']:,} verified runs returned something else than is "
            "stored: it changes something, or depends on more than its arguments"
        )
        yield Finding(about, Level.ADVICE, message, "declare what it depends on, or don't cache it")
    if counted.runs < ENOUGH_RUNS:
        return
    if counted.none_results == counted.runs:
        message = f"all of its {counted.runs:,} runs returned None: a write, and no value"
        yield Finding(about, Level.ADVICE, message, remedy)
    elif not sum(counted.hits.values()) + counted.shadow.get("hit", 0):
        message = f"none of its {counted.runs:,} calls was made twice while its result was stored"
        remedy = "raise cache_ttl, leave out arguments that don't matter (cache_ignore), or don't"
        yield Finding(about, Level.ADVICE, message, f"{remedy} cache it")
