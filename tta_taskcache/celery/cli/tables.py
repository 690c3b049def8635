"""Tables that fit the terminal.

Names of tasks and keys are long, and people copy them, so they are never cut or folded: where a row
doesn't fit into one line, its name gets a line of its own. Piped output has no width, and a row is
always one line there.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.record import record
from . import formatting

#: The width of a pipe.
_UNBOUNDED = 1_000_000

_INDENT = "    "

#: Stands for a blank at which no line ends.
_GLUE = "\xa0"


@record
class Row:
    """A row: a name, a text for each column, and remarks, each an enumeration."""

    name: str
    cells: Sequence[str]
    remarks: Sequence[Sequence[str]] = ()
    style: str = ""

    def __post_init__(self) -> None:
        """Escape what a terminal obeys: names come from Redis, where others may write."""
        shown = formatting.printable
        object.__setattr__(self, "name", shown(self.name))
        object.__setattr__(self, "cells", [shown(cell) for cell in self.cells])
        remarks = [[shown(item) for item in items] for items in self.remarks]
        object.__setattr__(self, "remarks", remarks)


@record
class Sheet:
    """A table.

    Attributes:
        name: Head of the names.
        columns: Heads of the cells, which are figures.
        words: The heads among them whose cells are words.
        remarks: Heads of the remarks: columns too on a wide terminal, else lines under the row.
        rows: The rows.
    """

    name: str
    columns: Sequence[str]
    words: Collection[str] = ()
    remarks: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)

    def print(self, *, no_color: bool) -> None:
        """Print the table.

        Args:
            no_color: Whether it has no colors, even on a terminal.
        """
        screen = screen_of_stdout(no_color=no_color)
        for line in self.lines(screen):
            # The terminal wraps longer lines, which are then copied in one piece.
            screen.print(line, soft_wrap=True)

    def lines(self, screen: Console) -> list[Text]:
        """Return the lines, in the first of three shapes that fits the screen."""
        lines = self._lines(screen, remarks=True)
        if _width(lines) > screen.width:
            lines = self._lines(screen)
            named = _width(lines) <= screen.width
            lines = self._with_remarks(lines if named else self._under_names(screen), screen.width)
        return lines

    def _lines(self, screen: Console, *, names: bool = True, remarks: bool = False) -> list[Text]:
        """Return heads and rows, each as long as it has to be."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column(self.name if names else _INDENT[2:], no_wrap=True)
        for head in self.columns:
            table.add_column(head, justify="left" if head in self.words else "right", no_wrap=True)
        for head in self.remarks if remarks else ():
            table.add_column(head, no_wrap=True)
        for row in self.rows:
            more = map(", ".join, row.remarks) if remarks else ()
            table.add_row(row.name if names else "", *row.cells, *more, style=row.style)
        return _render(screen, table)

    def _under_names(self, screen: Console) -> list[Text]:
        names = [Text(self.name, "bold"), *(Text(row.name, row.style) for row in self.rows)]
        cells = self._lines(screen, names=False)
        return [Text("\n").join(pair) for pair in zip(names, cells, strict=True)]

    def _with_remarks(self, lines: list[Text], width: int) -> list[Text]:
        heads, *rows = lines
        result = [heads]
        for row, line in zip(self.rows, rows, strict=True):
            result += [line, *self._remark_lines(row, width)]
        return result

    def _remark_lines(self, row: Row, width: int) -> list[Text]:
        indent = max(map(len, self.remarks), default=0) + 2
        return [
            Text(line.replace(_GLUE, " "), "dim")
            for head, items in zip(self.remarks, row.remarks, strict=True)
            for line in textwrap.wrap(
                ", ".join(item.replace(" ", _GLUE) for item in items),
                max(width, 2 * indent),
                initial_indent=_INDENT + head.lower().ljust(indent),
                subsequent_indent=_INDENT + " " * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        ]


def _width(lines: list[Text]) -> int:
    return max(line.cell_len for line in lines)


def screen_of_stdout(*, no_color: bool) -> Console:
    """Return the console of stdout, which takes nothing in a name for markup or emoji."""
    bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(
        color_system=None if no_color else "auto",
        width=None if bounded else _UNBOUNDED,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _render(screen: Console, table: Table) -> list[Text]:
    """Render a table to lines without trailing blanks."""
    options = screen.options.update(width=_UNBOUNDED)
    lines = []
    for segments in screen.render_lines(table, options, pad=False):
        line = Text.assemble(*((part.text, part.style or "") for part in segments))
        line.rstrip()
        lines.append(line)
    return lines
