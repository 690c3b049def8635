"""What is plotted: hits and saved run time, by day and task. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ....core.record import record
from ....observability.counters import Stats, TaskStats
from .. import formatting
from .task_figures import TaskFigures, total

#: Most tasks that are plotted by themselves: as many as can be told apart.
SHOWN = 6

OTHERS = "all others"

#: Lines of a scale above 0; the greatest values of scales can be divided by it.
LINES = 4

_COUNTS = tuple(step * 10**power for power in range(15) for step in (4, 8, 12, 20, 28))
_SECONDS = (
    *(step * 10.0**power for power in (-3, -2, -1) for step in (4, 8)),
    *(1, 2, 4, 8, 20, 40),
    *(60 * minutes for minutes in (1, 2, 4, 8, 20, 40)),
    *(3_600 * hours for hours in (1, 2, 4, 8, 12)),
    *(86_400 * days for days in (1, 2, 4, *_COUNTS)),
)


@record
class Plot:
    """One plot.

    Attributes:
        title: What is plotted.
        names: The tasks, in the order in which they are stacked; at last ``OTHERS``, if needed.
        days: The days, in ISO 8601.
        values: Of each day, the value of each task.
        say: Writes a value for people.
        scales: Greatest values that a scale may have, in their order.
    """

    title: str
    names: tuple[str, ...]
    days: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    say: Callable[[float], str]
    scales: Sequence[float] = ()

    @property
    def sums(self) -> tuple[float, ...]:
        """The sum of each day."""
        return tuple(map(sum, self.values))

    @property
    def highest(self) -> float:
        """The sum of the greatest day."""
        return max(self.sums, default=0.0)

    @property
    def top(self) -> float:
        """The greatest value of its scale."""
        return next((top for top in self.scales if top >= self.highest), self.highest)


@record
class DailyFigures:
    """The figures of some days.

    Attributes:
        by_task: Figures of all days, by task; what saves most comes first.
        by_day: Figures of all tasks, by day.
        total: All figures added up.
        plots: The plots; none without tasks.
    """

    by_task: dict[str, TaskFigures]
    by_day: dict[str, TaskFigures]
    total: TaskFigures
    plots: tuple[Plot, ...]


def daily_figures(days: Mapping[str, Stats], counted: Stats) -> DailyFigures:
    """Arrange the counts of days.

    Args:
        days: The counts of each day.
        counted: The counts of all these days.
    """
    tasks = {name: TaskFigures(stats) for name, stats in counted.tasks.items() if name}
    by_task = {name: tasks[name] for name in sorted(tasks, key=lambda n: _rank(n, tasks[n]))}
    by_day = {day: total(_figures(found)) for day, found in days.items()}
    return DailyFigures(by_task, by_day, total(by_task.values()), _plots(by_task, days))


def _rank(name: str, figures: TaskFigures) -> tuple[float, int, str]:
    return -figures.counted.saved_seconds, -figures.hits, name


def _figures(found: Stats) -> list[TaskFigures]:
    return [TaskFigures(stats) for name, stats in found.tasks.items() if name]


def _plots(by_task: Mapping[str, TaskFigures], days: Mapping[str, Stats]) -> tuple[Plot, ...]:
    # The same tasks in each plot, so that each has one color.
    names = list(by_task)
    if not names:
        return ()
    shown, others = names[:SHOWN], names[SHOWN:]

    def plot(
        title: str,
        read: Callable[[TaskStats], float],
        say: Callable[[float], str],
        scales: Sequence[float],
    ) -> Plot:
        rows = []
        for found in days.values():
            row = [read(found.tasks.get(name, TaskStats())) for name in shown]
            rest = sum(read(found.tasks.get(name, TaskStats())) for name in others)
            rows.append((*row, rest) if others else tuple(row))
        stacked = (*shown, OTHERS) if others else tuple(shown)
        return Plot(title, stacked, tuple(days), tuple(rows), say, scales)

    return (
        plot("Hits", lambda stats: sum(stats.hits.values()), "{:,.0f}".format, _COUNTS),
        plot(
            "Saved run time",
            lambda stats: max(0.0, stats.saved_seconds),
            formatting.duration,
            _SECONDS,
        ),
    )
