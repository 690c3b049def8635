"""Tables of what was measured."""

from collections.abc import Sequence
from math import ceil

from rich.console import Console
from rich.table import Table

console = Console()


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: a name, then figures."""
    sheet = Table(*heads[:1], title=title, title_justify="left", box=None, pad_edge=False)
    for head in heads[1:]:
        sheet.add_column(head, justify="right")
    for row in rows:
        sheet.add_row(*row)
    console.print(sheet)
    console.print()


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of them don't exceed."""
    return sorted(samples)[ceil(share * len(samples)) - 1]


def ms(seconds: float) -> str:
    """Milliseconds."""
    return f"{seconds * 1e3:.2f} ms"
