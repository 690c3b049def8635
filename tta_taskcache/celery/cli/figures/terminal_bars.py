"""Plots in a terminal: a bar a day, in which each task has a color and a character of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from .. import formatting
from .daily_figures import OTHERS, Plot

#: Tasks are told apart without colors, too.
_MARKS = (
    ("█", "blue"),
    ("▓", "dark_orange"),
    ("▒", "green"),
    ("░", "magenta"),
    ("▚", "cyan"),
    ("▤", "yellow"),
)
_OTHERS = ("·", "bright_black")

#: In place of these characters, where the terminal's encoding lacks them.
_ASCII = str.maketrans("█▓▒░▚▤·", "#=+-%o.")

#: Characters of the longest bar, where there is room, and where there isn't.
LONGEST, SHORTEST = 60, 10


def print_plot(plot: Plot, screen: Console) -> None:
    """Print a plot."""
    for line in _lines(plot, screen.width):
        if not screen.encoding.startswith("utf"):
            line.plain = line.plain.translate(_ASCII)
        screen.print(line, soft_wrap=True)


def _lines(plot: Plot, width: int) -> Iterator[Text]:
    yield Text(f"{plot.title} by day and task (UTC)", "bold")
    said = [plot.say(value) for value in plot.sums]
    room = width - len("2026-01-31  ") - len(" ") - max(map(len, said), default=0)
    longest = max(SHORTEST, min(LONGEST, room))
    for day, values, figure in zip(plot.days, plot.values, said, strict=True):
        line = Text(f"{day}  ")
        for name, length in zip(plot.names, lengths(values, plot.highest, longest), strict=True):
            mark, color = _mark(plot, name)
            line.append(mark * length, color)
        line.append(f"{' ' if any(values) else ''}{figure}")
        yield line
    for name in plot.names:
        mark, color = _mark(plot, name)
        yield Text.assemble("  ", (mark * 2, color), f" {formatting.printable(name)}")


def _mark(plot: Plot, name: str) -> tuple[str, str]:
    return _OTHERS if name == OTHERS else _MARKS[plot.names.index(name)]


def lengths(values: Sequence[float], highest: float, longest: int) -> list[int]:
    """Return the length of each part, so that the whole bar has the length of the sum."""
    found, end, drawn = [], 0.0, 0
    for value in values:
        end += value
        upto = round(end / highest * longest) if highest else 0
        found.append(upto - drawn)
        drawn = upto
    return found
