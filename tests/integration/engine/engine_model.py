"""The model of an engine's world: what processes have run and ended, and what they may read."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tta_taskcache.cache.engine.engine import Engine
from tta_taskcache.cache.outcome import Call
from tta_taskcache.cache.plan import Plan
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Stage
from tta_taskcache.core.options.policy import Policy

CHAOS_EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES") or 0)

DELTA = 0.25

#: Longer than a history takes, by whatever clock.
LONG = 3_600.0

CONTROL, STREAM = "ns:{log}:control", "ns:{log}:stream"

PROCESSES = range(2)
POLICY = Policy(ttl=LONG)
TASKS = {"t:a": "t", "t:b": "t", "u:a": "u"}
TAGS = [(), ("x",), ("x", "y"), ("z",)]
PATTERNS = {"t:*": {"t:a", "t:b"}, "*:a": {"t:a", "u:a"}, "[^t]*": {"u:a"}, "*": set(TASKS)}
MARKS = [
    *map(marks.of_key, TASKS),
    *map(marks.of_task, "tu"),
    *map(marks.of_tag, "xyz"),
    *map(marks.of_pattern, PATTERNS),
    marks.EVERYTHING,
]

KEYS = st.sampled_from(sorted(TASKS))
WHO = st.sampled_from(PROCESSES)


class Ended(NamedTuple):
    """An invalidation, or the loss of the log (``names`` is empty then)."""

    names: tuple[str, ...]
    by: int
    at: float

    def concerns(self, key: str, names: tuple[str, ...]) -> bool:
        patterns = (marks.pattern_of(name) for name in self.names)
        return (
            not self.names
            or bool(set(self.names) & set(names))
            or any(key in PATTERNS[pattern] for pattern in patterns if pattern is not None)
        )


@dataclass(frozen=True)
class Run:
    """A computation: it began when so much had happened."""

    by: int
    call: Call
    position: Position
    began: int
    owner: str
    value: int


@dataclass
class LeaderWatch:
    """Who holds a lease, since when."""

    owner: str
    began: int
    stage: Stage


@dataclass
class Process:
    """The cache of one process."""

    engine: Engine
    store: Any
    drive: Callable[[Plan[Any], Any], Any]

    def do(self, plan: Plan[Any]) -> Any:
        return self.drive(plan, self.store)


@dataclass
class World:
    """What has happened, and what is in Redis."""

    history: list[Ended] = field(default_factory=list)
    entries: dict[str, Run] = field(default_factory=dict)
    leaders: dict[str, LeaderWatch] = field(default_factory=dict)
    #: Every run whose fill was stored; no other value may ever be read.
    stored: dict[int, Run] = field(default_factory=dict)

    def ends(self, key: str, names: tuple[str, ...], began: int) -> list[Ended]:
        """What has ended something since then."""
        return [ended for ended in self.history[began:] if ended.concerns(key, names)]

    def entry(self, key: str) -> Run | None:
        """The valid entry."""
        entry = self.entries.get(key)
        return None if entry is None or self.ends_of(entry) else entry

    def ends_of(self, made: Run) -> list[Ended]:
        return self.ends(made.call.key, made.call.marks, made.began)

    def ends_for(self, call: Call, made: Run) -> list[Ended]:
        """What has ended a run's entry for a call, whose tags may be others by now (I7)."""
        return self.ends(made.call.key, (*made.call.marks, *call.marks), made.began)

    def leader(self, call: Call) -> LeaderWatch | None:
        """Who leads, as far as this call may join it."""
        leader = self.leaders.get(call.key)
        if leader is None or self.ends(call.key, call.marks, leader.began):
            return None
        return leader
