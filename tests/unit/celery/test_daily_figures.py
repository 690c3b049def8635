"""Plots: what is stacked, in which order, and on which scale."""

from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.celery.cli.figures.daily_figures import LINES, OTHERS, SHOWN, daily_figures
from tta_taskcache.celery.cli.figures.stacked_bars import draw
from tta_taskcache.celery.cli.figures.task_figures import TaskFigures
from tta_taskcache.celery.cli.figures.terminal_bars import lengths
from tta_taskcache.observability.counters import Stats, TaskStats

DAYS = ("2026-01-30", "2026-01-31")

counts = st.integers(0, 10**9)
seconds = st.floats(0, 1e9)
tasks = st.dictionaries(st.text(max_size=3), st.tuples(counts, seconds), max_size=2 * SHOWN)


def of(found: dict[str, tuple[int, float]]) -> Stats:
    return Stats(
        {name: TaskStats(hits={"pool/l1": n}, saved_seconds=s) for name, (n, s) in found.items()}
    )


@given(tasks, tasks)
def test_nothing_is_left_out_of_a_plot(
    first: dict[str, tuple[int, float]], second: dict[str, tuple[int, float]]
) -> None:
    none = (0, 0.0)
    both = {
        name: (
            first.get(name, none)[0] + second.get(name, none)[0],
            first.get(name, none)[1] + second.get(name, none)[1],
        )
        for name in {**first, **second}
    }
    figures = daily_figures(dict(zip(DAYS, (of(first), of(second)), strict=True)), of(both))
    for plot in figures.plots:
        assert len(plot.names) <= SHOWN + 1
        assert (OTHERS in plot.names) is (len(set(both) - {""}) > SHOWN)
        assert plot.top >= plot.highest
        draw(plot)
    if figures.plots:
        hits, saved = figures.plots
        assert hits.sums == tuple(
            sum(n for name, (n, _) in found.items() if name) for found in (first, second)
        )
        assert hits.names == saved.names, "a task has one color"
        assert hits.top % LINES == 0


@given(st.lists(st.floats(0, 1e6), max_size=7), st.floats(1e-3, 1e7), st.integers(1, 80))
def test_a_bar_is_as_long_as_its_sum(values: list[float], highest: float, longest: int) -> None:
    highest = max(highest, sum(values))
    found = lengths(values, highest, longest)
    assert all(length >= 0 for length in found)
    assert abs(sum(found) - sum(values) / highest * longest) <= 0.5 + 1e-6


def test_what_was_counted_without_a_reason_is_said() -> None:
    figures = TaskFigures(TaskStats(runs=5, run_reasons={"absent": 3}))
    assert figures.run_reasons == {"absent": 3, "unknown": 2}
    assert TaskFigures(TaskStats(runs=3, run_reasons={"absent": 3})).run_reasons == {"absent": 3}
