"""``cache semantic``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from ....core.semantic.confidence import Sample, ThresholdBound, bounds_at, lowest_safe
from ....observability.counters import TaskStats, read_stats
from ...api.task_cache import TaskCache
from .. import formatting
from ..session import NOTHING_FOUND, USAGE, CacheCommand, Failure, example, open_cache
from ..shell_completion import complete_semantic_task
from ..tables import Row, Sheet

#: Thresholds that are judged: from the task's to 1, in at most so many steps.
STEPS = 10

#: Outcomes of comparisons that were, or would have been, hits.
_HITS = ("hit", "shadow")

_SAMPLED = ("same", "different")


@click.command(
    cls=CacheCommand,
    epilog=example(
        "celery -A proj cache semantic proj.answer",
        "celery -A proj cache semantic proj.answer --bound 0.01",
    ),
)
@click.argument("task", shell_complete=complete_semantic_task)
@click.option(
    "--bound",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Most wrong hits per hit.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(min=0.5, max=1, max_open=True),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Confidence of all upper bounds together.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def semantic(context: Any, task: str, bound: float, confidence: float, *, as_json: bool) -> None:
    """Show how near neighbours are, and how many answer wrongly.

    COMPARED counts calls without an entry, by the similarity of their nearest neighbour; HITS of
    them it has answered, or would have in shadow mode. CHECKED ran anyway (cache_verify, shadow
    mode), and WRONG of them returned something else. UPPER BOUND is that of Clopper and Pearson on
    the share of wrong hits, of all hits at this similarity and above; all of them hold together.
    """
    cache = open_cache(context)
    least = _threshold(cache, task)
    stats = read_stats(cache.runtime.run(cache.runtime.engine.totals())).tasks.get(task)
    if stats is None or not stats.semantic:
        raise Failure(f"task {task}: no call was compared with a neighbour yet", NOTHING_FOUND)
    counted = _by_similarity(stats)
    bounds = bounds_at(_samples(counted), _steps(least), confidence)
    safe = lowest_safe(bounds, bound)
    if as_json:
        click.echo(
            json.dumps(
                _report(
                    task,
                    stats,
                    counted=counted,
                    bounds=bounds,
                    safe=safe,
                    bound=bound,
                    confidence=confidence,
                )
            )
        )
        return
    _histogram(counted).print(no_color=context.no_color)
    click.echo()
    _bounds(bounds, confidence).print(no_color=context.no_color)
    click.echo()
    click.echo(_advice(bounds, safe, bound, confidence))
    click.echo(
        f"Embedding took {formatting.duration(stats.embed_seconds)}"
        + (f" and cost {stats.embed_cost:,.4g}" if stats.embed_cost else "")
        + f"; less that, hits saved {formatting.saving(stats.saved_seconds)}."
    )


def _threshold(cache: TaskCache, name: str) -> float:
    task = cache.app.tasks.get(name)
    policy = getattr(task, "cache_policy", None)
    if policy is None or policy.semantic is None:
        known = [
            each
            for each, other in cache.app.tasks.items()
            if getattr(getattr(other, "cache_policy", None), "semantic", None) is not None
        ]
        allowed = ", ".join(sorted(known)) or "none"
        raise Failure(f"task {name}: has no cache_semantic; tasks that have: {allowed}", USAGE)
    threshold: float = policy.semantic.threshold
    return threshold


def _by_similarity(stats: TaskStats) -> dict[float, dict[str, int]]:
    counted: dict[float, dict[str, int]] = {}
    for label, count in stats.semantic.items():
        similarity, _, outcome = label.partition("/")
        try:
            at = counted.setdefault(float(similarity), {})
        except ValueError:  # written by somebody else
            continue
        at[outcome] = at.get(outcome, 0) + count
    return dict(sorted(counted.items()))


def _samples(counted: dict[float, dict[str, int]]) -> list[Sample]:
    return [
        Sample(similarity, of.get("same", 0), of.get("different", 0))
        for similarity, of in counted.items()
    ]


def _steps(least: float) -> list[float]:
    """Thresholds from the task's, rounded up to a hundredth as similarities are counted, to 1."""
    first = min(100, -int(-least * 100 // 1))
    width = max(1, -(-(100 - first) // STEPS))
    return [step / 100 for step in range(first, 101, width)]


def _histogram(counted: dict[float, dict[str, int]]) -> Sheet:
    sheet = Sheet("SIMILARITY", ("COMPARED", "HITS", "CHECKED", "WRONG", ""), words=("",))
    compared = {
        similarity: sum(n for outcome, n in of.items() if outcome not in _SAMPLED)
        for similarity, of in counted.items()
    }
    most = max([1, *compared.values()])
    for similarity, of in counted.items():
        cells = (
            f"{compared[similarity]:,}",
            f"{sum(of.get(name, 0) for name in _HITS):,}",
            f"{sum(of.get(name, 0) for name in _SAMPLED):,}",
            f"{of.get('different', 0):,}",
            "█" * round(30 * compared[similarity] / most),
        )
        sheet.rows.append(Row(f"{similarity:.2f}", cells))
    return sheet


def _bounds(bounds: list[ThresholdBound], confidence: float) -> Sheet:
    sheet = Sheet("THRESHOLD", ("CHECKED", "WRONG", "SHARE", f"UPPER BOUND ({confidence:.0%})"))
    for at in bounds:
        share = f"{at.wrong / at.hits:.2%}" if at.hits else "-"
        cells = (f"{at.hits:,}", f"{at.wrong:,}", share, f"{at.upper:.2%}")
        sheet.rows.append(Row(f"{at.threshold:.2f}", cells))
    return sheet


def _advice(
    bounds: list[ThresholdBound], safe: ThresholdBound | None, bound: float, confidence: float
) -> str:
    if safe is not None:
        return (
            f"At threshold {safe.threshold:.2f} at most {bound:.2%} of the hits are wrong, with "
            f"{confidence:.0%} confidence."
        )
    most = max((at.hits for at in bounds), default=0)
    checked = formatting.plural(most, "checked hit", "checked hits")
    return (
        f"No threshold is known to keep wrong hits at or below {bound:.2%} with {confidence:.0%} "
        f"confidence, from {checked}."
    )


def _report(
    task: str,
    stats: TaskStats,
    *,
    counted: dict[float, dict[str, int]],
    bounds: list[ThresholdBound],
    safe: ThresholdBound | None,
    bound: float,
    confidence: float,
) -> dict[str, Any]:
    return {
        "task": task,
        "similarities": {f"{similarity:.2f}": of for similarity, of in counted.items()},
        "thresholds": [asdict(at) for at in bounds],
        "bound": bound,
        "confidence": confidence,
        "threshold": None if safe is None else safe.threshold,
        "embed_seconds": stats.embed_seconds,
        "embed_cost": stats.embed_cost,
        "saved_seconds": stats.saved_seconds,
        "saved_cost": stats.saved_cost,
    }
