"""Plans side by side: what several of them do at the same time is one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import StoreUnavailable
from ..stores.protocol import (
    BeginRefresh,
    Command,
    Fill,
    Look,
    LookMany,
    Release,
    SetMarks,
    Together,
)
from .plan import AT_ONCE, Pause, Plan, T, Work

#: Most bytes of the frames in one round trip.
MAX_BYTES = 8 * 1024 * 1024

#: What a plan waits for.
_Step = Command | Pause | Work


def side_by_side(plans: Sequence[Plan[T]]) -> Plan[list[T]]:
    """Run plans in step, and return their results in order.

    Their looks, and their fills, releases and claims of refreshes, share round trips.
    """
    results: dict[int, T] = {}
    steps: dict[int, _Step] = {}

    def advance(number: int, reply: Any, error: StoreUnavailable | None) -> None:
        plan = plans[number]
        try:
            steps[number] = plan.throw(error) if error is not None else plan.send(reply)
        except StopIteration as stop:
            results[number] = stop.value

    for number in range(len(plans)):
        advance(number, None, None)
    while steps:
        numbers, step = _next(steps)
        for number in numbers:
            del steps[number]
        reply: Any = None
        error = None
        try:
            reply = yield step
        except StoreUnavailable as failure:
            error = failure
        is_shared = error is None and isinstance(step, (LookMany, Together))
        for place, number in enumerate(numbers):
            advance(number, reply[place] if is_shared else reply, error)
    return [results[number] for number in range(len(plans))]


def _next(steps: dict[int, _Step]) -> tuple[list[int], _Step]:
    """Return the next command, and the numbers of the plans that it is of."""
    first = next(iter(steps.values()))
    match first:
        case Look(claim=None):
            looks = [(n, s) for n, s in steps.items() if isinstance(s, Look) and s.claim is None]
            looks = looks[:AT_ONCE]
            if len(looks) == 1:
                return [looks[0][0]], first
            counts = _sum([look for _, look in looks])
            return [n for n, _ in looks], LookMany(tuple(s for _, s in looks), first.since, counts)
        case Fill() | Release() | BeginRefresh():
            together = _together(steps)
            if len(together) == 1:
                return list(together), first
            commands = tuple(together.values())
            counts = _sum([command for command in commands if isinstance(command, Fill)])
            return list(together), Together(commands, counts)
        case SetMarks():
            marking = {n: s for n, s in steps.items() if isinstance(s, SetMarks)}
            names = dict.fromkeys(name for s in marking.values() for name in s.marks)
            keys = dict.fromkeys(key for s in marking.values() for key in s.keys)
            return list(marking), SetMarks(tuple(names), tuple(keys))
    return [next(iter(steps))], first


def _together(steps: dict[int, _Step]) -> dict[int, Fill | Release | BeginRefresh]:
    """Return those that share a round trip: so many, and with so many bytes, as it may have."""
    taken: dict[int, Fill | Release | BeginRefresh] = {}
    size = 0
    for number, step in steps.items():
        if not isinstance(step, (Fill, Release, BeginRefresh)):
            continue
        size += len(step.frame) if isinstance(step, Fill) else 0
        if taken and (len(taken) == AT_ONCE or size > MAX_BYTES):
            break
        taken[number] = step
    return taken


def _sum(commands: Sequence[Look | Fill]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for command in commands:
        for name, amount in command.counts.items():
            counts[name] = counts.get(name, 0.0) + amount
    return counts
