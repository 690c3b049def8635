"""What the demo prints, and what it promises."""

from collections.abc import Iterable, Sequence
from statistics import median, quantiles
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

MILLISECOND, HUNDRED = 1e-3, 100.0

console = Console(highlight=False)
console.width = min(console.width, 80)


class Promises:
    """What has to be true at the end, and whether it was."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.broken: list[str] = []

    def check(self, held: bool, text: str) -> None:
        """Note whether one was kept."""
        (self.kept if held else self.broken).append(text)

    def equal(self, found: object, expected: object, what: str) -> None:
        """Note whether a figure is what it has to be."""
        self.check(found == expected, f"{what}: {found}, expected {expected}")


def title(text: str) -> None:
    """Begin a part."""
    console.print(f"\n[bold]{text}[/bold]")


def say(text: str) -> None:
    """A line or two about what is shown."""
    wrapped = fill(text, console.width - 2, initial_indent="  ", subsequent_indent="  ")
    console.print(wrapped, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """The same after a table."""
    console.print()
    say(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: the first column of words, the others of figures."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        made.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    console.print()
    console.print(Padding.indent(made, 2))


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds >= 1:
        return f"{seconds:.{2 if seconds < HUNDRED else 0}f} s"
    digits = 2 if seconds < 10 * MILLISECOND else 0
    return f"{seconds / MILLISECOND:.{digits}f} ms"


def spread(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 95th percentile and maximum."""
    if not seconds:
        return (0.0, 0.0, 0.0)
    p95 = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return median(seconds), p95, max(seconds)
