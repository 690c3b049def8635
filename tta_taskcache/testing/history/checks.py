"""The checks of a history.

For each version of a thing there is one time after which no read may begin and still get it: Δ
after the first acknowledged invalidation that ended it. So a check takes one look into a dict per
read.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from .records import History, Invalidation, Read, Run


@dataclass(frozen=True, slots=True)
class Violation:
    """A read of a result that had been ended before.

    Attributes:
        promise: ``"I2"`` when the result's run was under way as the invalidation began: it filled
            over it, or was joined after it. Else, and when the run isn't known, ``"I1"``.
        read: The read.
        invalidation: The first invalidation that forbids it.
        run: The run of the result; None if it wasn't recorded.
    """

    promise: Literal["I1", "I2"]
    read: Read
    invalidation: Invalidation
    run: Run | None

    def __str__(self) -> str:
        read, ended = self.read, self.invalidation
        age = read.begin - (ended.end or 0.0)
        return (
            f"{self.promise}: a read of {read.thing!r} began {age:.6f} s after an invalidation at "
            f"version {ended.version} was acknowledged, and got version {read.version}, "
            f"{self._why()} (read at {read.begin:.6f}, invalidation at {ended.begin:.6f})"
        )

    def _why(self) -> str:
        run, ended = self.run, self.invalidation
        if run is None:
            return "which is older"
        began = ended.begin - run.begin
        if began <= 0:
            return f"whose run began {-began:.6f} s after it and saw what is older"
        if self.promise == "I2":
            return f"whose run began {began:.6f} s before it and was still going on"
        return f"whose run began {began:.6f} s before it and was over"


@dataclass(frozen=True, slots=True)
class _Limit:
    """No read of a version may begin later than ``at``; ``by`` is why, and ``run`` its run."""

    at: float
    by: Invalidation | None = None
    run: Run | None = None

    def violated_by(self, read: Read) -> Violation:
        assert self.by is not None, "an infinite limit is never violated"  # noqa: S101 - for mypy
        run = self.run
        overlap = run is not None and run.begin < self.by.begin < run.end
        return Violation("I2" if overlap else "I1", read, self.by, run)


class _Ended:
    """The acknowledged invalidations of one thing, in the order of their acknowledgement."""

    def __init__(self, invalidations: Iterable[Invalidation], staleness: float) -> None:
        self._all = sorted(invalidations, key=_end)
        self._deadlines = [_end(item) + staleness for item in self._all]
        # Running maxima rise, so the first invalidation beyond a value is found by bisection.
        self._versions = list(accumulate((item.version for item in self._all), max))
        self._begins = list(accumulate((item.begin for item in self._all), max))

    def limit(self, version: float, run: Run | None) -> _Limit:
        first = bisect_right(self._versions, version)
        if run is not None:
            first = min(first, bisect_right(self._begins, run.begin))
        if first == len(self._all):
            return _Limit(math.inf)
        return _Limit(self._deadlines[first], self._all[first], run)


def check(history: History, staleness: float) -> list[Violation]:
    """Find the reads that break promise I1 or I2, in the order in which they began.

    A read must not begin more than ``staleness`` seconds after an invalidation of its thing was
    acknowledged and get

    - a version older than the invalidation's; or
    - the result of a run that began before the invalidation did, if runs were recorded. Of runs
      with the same version the last counts: the result may be its.

    Args:
        history: The history.
        staleness: Δ in seconds; 0 is strict.

    Raises:
        ValueError: ``staleness`` is negative.
    """
    if staleness < 0:
        raise ValueError(f"staleness={staleness}: must be 0 or more seconds")
    runs = _last_runs(history.runs)
    nothing = _Ended((), staleness)
    ended = {
        thing: _Ended(items, staleness) for thing, items in _by_thing(history.invalidations).items()
    }
    limits: dict[tuple[Hashable, float], _Limit] = {}
    found = []
    for read in history.reads:
        name = (read.thing, read.version)
        limit = limits.get(name)
        if limit is None:
            limit = ended.get(read.thing, nothing).limit(read.version, runs.get(name))
            limits[name] = limit
        if read.begin > limit.at:
            found.append(limit.violated_by(read))
    return sorted(found, key=lambda violation: violation.read.begin)


def surplus_runs(history: History) -> int:
    """Count the runs beyond those that the scheme needs.

    A thing needs one run, and one more for each invalidation that touches it, acknowledged or not:
    it may have happened. Expired and evicted entries need further runs, and so does everything
    while Redis can't be reached: keep those out of the history.
    """
    needed = Counter(item.thing for item in history.invalidations)
    made = Counter(run.thing for run in history.runs)
    return sum(max(0, number - needed[thing] - 1) for thing, number in made.items())


def unexplained_reads(history: History) -> list[Read]:
    """Find the reads of versions that no recorded run of their thing computed (promise R1).

    It needs a history in which all runs are recorded by the time they return.
    """
    known = {(run.thing, run.version) for run in history.runs}
    return [read for read in history.reads if (read.thing, read.version) not in known]


def _end(invalidation: Invalidation) -> float:
    return math.inf if invalidation.end is None else invalidation.end


def _by_thing(invalidations: Iterable[Invalidation]) -> dict[Hashable, list[Invalidation]]:
    found = defaultdict(list)
    for item in invalidations:
        if item.acknowledged:
            found[item.thing].append(item)
    return found


def _last_runs(runs: Iterable[Run]) -> dict[tuple[Hashable, float], Run]:
    return {(run.thing, run.version): run for run in sorted(runs, key=lambda run: run.begin)}
