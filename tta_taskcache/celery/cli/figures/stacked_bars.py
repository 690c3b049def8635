"""Stacked bars as an SVG inside of HTML, without scripts.

The drawing is stretched to the width of the page, so there is no text in it: what is written beside
it is HTML, which keeps its size on a narrow screen.
"""

from __future__ import annotations

from html import escape
from itertools import accumulate, pairwise

from .. import formatting
from .daily_figures import LINES, OTHERS, Plot

#: Height of the drawing, in its own units; a bar is one unit wide.
HEIGHT = 100.0

#: Days below which bars are narrower than their days; and beyond which they have no edges.
FEW, MANY = 8, 100

#: Days that are all written below the plot.
ALL_NAMED = 3


def in_html(text: str) -> str:
    """Return a text as HTML, without characters that nobody sees."""
    return escape(formatting.printable(text))


def draw(plot: Plot) -> str:
    """Return a plot as HTML."""
    top = plot.top
    marks = [(share / LINES, plot.say(top * share / LINES)) for share in range(LINES + 1)]
    lines = "".join(
        f'<line x1="0" x2="{len(plot.days)}" y1="{_y(share)}" y2="{_y(share)}"/>'
        for share, _ in marks
    )
    bars = "".join(_bar(plot, number, top) for number in range(len(plot.days)))
    said = "".join(
        f'<span style="bottom:{share:.0%}">{in_html(label)}</span>' for share, label in marks
    )
    summary = f"{plot.title} by day and task, from {plot.days[0]} to {plot.days[-1]}"
    return (
        f'<figure class="plot"><figcaption>{in_html(plot.title)} by day and task</figcaption>'
        f'<div class="area"><div class="scale" aria-hidden="true">{said}</div>'
        f'<svg viewBox="0 0 {len(plot.days)} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'class="{"many" if len(plot.days) > MANY else "some"}" '
        f'aria-label="{in_html(summary)}"><g class="lines">{lines}</g>{bars}</svg></div>'
        f"{_days(plot.days)}</figure>"
    )


def legend(plot: Plot) -> str:
    """Return the names of the tasks with their colors as HTML."""
    items = (
        f'<li><i class="{color_of(plot, name)}"></i>{in_html(name)}</li>' for name in plot.names
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def color_of(plot: Plot, name: str) -> str:
    """Return the class that has the color of a task."""
    return "others" if name == OTHERS else f"c{plot.names.index(name)}"


def _bar(plot: Plot, number: int, top: float) -> str:
    day, values = plot.days[number], plot.values[number]
    edges = pairwise(accumulate(values, initial=0.0))
    width = 0.8 * min(1.0, len(plot.days) / FEW)
    left = number + (1 - width) / 2
    parts = [
        f'<rect class="{color_of(plot, name)}" x="{left:.3f}" width="{width:.3f}" '
        f'y="{_y(end / top)}" height="{(end - start) / top * HEIGHT:.3f}">'
        f"<title>{day}, {in_html(name)}: {in_html(plot.say(end - start))}</title></rect>"
        for name, (start, end) in zip(plot.names, edges, strict=True)
        if end > start
    ]
    return "".join(parts)


def _y(share: float) -> str:
    return f"{(1 - share) * HEIGHT:.3f}"


def _days(days: tuple[str, ...]) -> str:
    """Return the first day, the last, and one in the middle; or all, each below its bar."""
    chosen = dict.fromkeys((0, len(days) // 2, len(days) - 1))
    names = "".join(f"<span>{days[number]}</span>" for number in chosen)
    kind = "days all" if len(days) <= ALL_NAMED else "days"
    return f'<div class="{kind}" aria-hidden="true">{names}</div>'
