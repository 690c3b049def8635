"""The page of ``cache stats --html``: one file, which loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from string import Template

from .daily_figures import DailyFigures
from .stacked_bars import draw, in_html, legend
from .task_figures import TaskFigures

#: By this a page is known as one of ours.
GENERATOR = '<meta name="generator" content="tta_taskcache">'

#: The remarks that are columns of the table of tasks, if any task has one.
_REMARKS = ("RAN AFTER", "NO RESULT")


def write_page(figures: DailyFigures, *, store: str, namespace: str, now: datetime) -> str:
    """Return the page.

    Args:
        figures: The figures of its days; at least one day.
        store: Name of the cache's store.
        namespace: Namespace of the cache.
        now: When it is written.
    """
    days = list(figures.by_day)
    template = Template((files(__package__) / "stats_page.html").read_text("utf-8"))
    drawn = [draw(plot) for plot in figures.plots]
    return template.substitute(
        namespace=in_html(namespace),
        store=in_html(store),
        since=days[0],
        until=days[-1],
        written=f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        tiles=_tiles(figures.total),
        plots="\n".join([*map(legend, figures.plots[:1]), *drawn]),
        tasks=_table("TASK", figures.by_task, figures.total, remarks=_REMARKS),
        days=_table("DAY", dict(reversed(figures.by_day.items())), figures.total),
    )


def _tiles(total: TaskFigures) -> str:
    columns = total.columns
    said = {
        "Answered": columns["RATIO"],
        "Hits": columns["HITS"],
        "Runs": columns["RUNS"],
        "Saved run time": columns["SAVED"],
    }
    if total.counted.saved_cost:
        said["Saved cost"] = columns["COST SAVED"]
    tiles = (f"<div><dt>{head}</dt><dd>{in_html(value)}</dd></div>" for head, value in said.items())
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _table(
    head: str, rows: Mapping[str, TaskFigures], total: TaskFigures, remarks: Sequence[str] = ()
) -> str:
    heads = [name for name in total.columns if name != "COST SAVED" or total.counted.saved_cost]
    words = [name for name in remarks if total.remarks[name]]
    top = "".join(f'<th scope="col">{name}</th>' for name in (head, *heads))
    top += "".join(f'<th scope="col" class="words">{name}</th>' for name in words)
    body = "".join(_row(name, figures, heads, words) for name, figures in rows.items())
    foot = _row("TOTAL", total, heads, words)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{foot}</tfoot></table></div>"
    )


def _row(name: str, figures: TaskFigures, heads: Sequence[str], words: Sequence[str]) -> str:
    columns, remarks = figures.columns, figures.remarks
    cells = [f'<td data-head="{head}">{in_html(columns[head])}</td>' for head in heads]
    cells += [
        f'<td class="words" data-head="{head}">{in_html(", ".join(remarks[head]) or "-")}</td>'
        for head in words
    ]
    return f'<tr><th scope="row">{in_html(name)}</th>{"".join(cells)}</tr>'
