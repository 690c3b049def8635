"""The progress of a sweep on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ...stores.sweep_commands import SweepProgress
from . import formatting
from .session import note

#: Width of the bar itself: with the figures of ten million keys it fits into 80 columns.
_BAR_WIDTH = 12


def share(now: SweepProgress) -> float:
    """Return the share of a round that is done, from 0 to 1."""
    return 1.0 if now.is_over else now.visited / max(now.total, now.visited, 1)


def figures(now: SweepProgress) -> str:
    """Return the progress of a sweep in words."""
    keys = f"{now.visited:,}/{max(now.total, now.visited):,} keys"
    return f"{keys}, {now.dropped:,} dropped, {formatting.size(now.freed)} freed"


class Quiet:
    """Prints nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the output as it is."""

    def say(self, message: str) -> None:
        """Print a message."""

    def report(self, now: SweepProgress) -> None:
        """Print the progress."""


class Lines(Quiet):
    """Prints a line whenever another tenth is done."""

    def __init__(self) -> None:
        self._told = -1

    def say(self, message: str) -> None:
        note(message)

    def report(self, now: SweepProgress) -> None:
        tenth = int(share(now) * 10)
        if tenth != self._told:
            self._told = tenth
            note(f"{share(now):4.0%} {figures(now)}")


class Bar(Quiet):
    """Draws a bar, anew all the time, as wide as the terminal then is."""

    def __init__(self, screen: Console) -> None:
        columns = (BarColumn(_BAR_WIDTH), TaskProgressColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=screen)
        self._task = self._bar.add_task("", total=1.0, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        self._bar.console.print(message)

    def report(self, now: SweepProgress) -> None:
        self._bar.update(self._task, completed=share(now), description=figures(now), visible=True)


def on_stderr(*, no_color: bool) -> Quiet:
    """Return the progress output that suits stderr."""
    screen = Console(
        stderr=True,
        color_system=None if no_color else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
    return Bar(screen) if screen.is_terminal and not screen.is_dumb_terminal else Lines()
