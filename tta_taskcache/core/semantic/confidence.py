"""Bounds on a share that was sampled, with their confidence (Clopper and Pearson, 1934).

A bound holds for each share with the stated confidence, whatever the true share is: it is exact,
and no approximation by a normal distribution, which fails for the few failures that count here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..record import record

#: Halvings of an interval: more than a float can tell.
_HALVINGS = 60

_MOST_TERMS = 10_000
_TINY = 1e-300


@record
class Sample:
    """Hits whose results were compared with those of runs.

    Attributes:
        similarity: Similarity of the neighbour that would answer.
        same: Number of those whose results said the same.
        different: Number of the others: wrong hits.
    """

    similarity: float
    same: int
    different: int


@record
class ThresholdBound:
    """What is known of a threshold.

    Attributes:
        threshold: Least similarity.
        hits: Number of compared hits at or above it.
        wrong: Number of wrong ones among them.
        upper: Upper bound on the share of wrong hits.
    """

    threshold: float
    hits: int
    wrong: int
    upper: float


def upper_bound(wrong: int, hits: int, confidence: float) -> float:
    """Return the one-sided upper bound of Clopper and Pearson on a share.

    Args:
        wrong: Number of wrong ones.
        hits: Number of all.
        confidence: Probability that the true share is no higher (more than 0, less than 1).
    """
    if wrong >= hits:
        return 1.0
    # P(X <= wrong) under a share p is 1 - I_p(wrong + 1, hits - wrong), which falls with p.
    low, high = wrong / hits, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _incomplete_beta(wrong + 1, hits - wrong, middle) < confidence:
            low = middle
        else:
            high = middle
    return high


def bounds_at(
    samples: Iterable[Sample], thresholds: Sequence[float], confidence: float
) -> list[ThresholdBound]:
    """Return the bound at each threshold; all of them hold together with the confidence.

    Each is given at ``1 - (1 - confidence) / len(thresholds)`` (Bonferroni), as a reader picks one
    of them for what the samples say: the best of twenty bounds at 95 % is none at 95 %.
    """
    known = list(samples)
    each = 1.0 - (1.0 - confidence) / max(1, len(thresholds))
    found = []
    for threshold in thresholds:
        above = [sample for sample in known if sample.similarity >= threshold]
        wrong = sum(sample.different for sample in above)
        hits = wrong + sum(sample.same for sample in above)
        found.append(ThresholdBound(threshold, hits, wrong, upper_bound(wrong, hits, each)))
    return found


def lowest_safe(bounds: Iterable[ThresholdBound], most: float) -> ThresholdBound | None:
    """Return the lowest threshold whose bound is at most ``most``; None when there is none."""
    safe = (bound for bound in bounds if bound.hits and bound.upper <= most)
    return min(safe, key=lambda bound: bound.threshold, default=None)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction by Lentz's method."""
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            change = c * d
            value *= change
        if abs(change - 1.0) < 1e-15:  # noqa: PLR2004 - as exact as a float
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
