"""Bounds on the share of wrong hits hold, also for who picks the threshold by them."""

import random

import pytest

from tta_taskcache.core.semantic.confidence import (
    Sample,
    ThresholdBound,
    bounds_at,
    lowest_safe,
    upper_bound,
)


@pytest.mark.parametrize(
    ("wrong", "hits", "confidence", "bound"),
    [  # quantiles of the beta distribution by scipy 1.17
        (0, 10, 0.95, 0.2588655508930522),
        (0, 300, 0.95, 0.009936081944457708),
        (3, 100, 0.95, 0.07571079374983004),
        (17, 400, 0.99, 0.07214667866559273),
        (250, 1000, 0.9975, 0.29028085947113863),
        (9, 10, 0.95, 0.9948838031081763),
        (5, 5, 0.95, 1.0),
        (0, 0, 0.95, 1.0),
    ],
)
def test_the_bound_is_clopper_and_pearsons(
    wrong: int, hits: int, confidence: float, bound: float
) -> None:
    assert upper_bound(wrong, hits, confidence) == pytest.approx(bound, rel=1e-9)


def test_only_hits_at_or_above_a_threshold_count() -> None:
    samples = [Sample(0.8, 5, 5), Sample(0.9, 9, 1), Sample(0.95, 20, 0)]
    found = bounds_at(samples, [0.8, 0.9, 0.95, 0.99], 0.95)
    assert [(b.threshold, b.hits, b.wrong) for b in found] == [
        (0.8, 40, 6), (0.9, 30, 1), (0.95, 20, 0), (0.99, 0, 0)
    ]  # fmt: skip
    assert found[2].upper == upper_bound(0, 20, 1 - 0.05 / 4)


def test_the_lowest_safe_threshold_needs_hits() -> None:
    bounds = [
        ThresholdBound(0.8, 100, 9, 0.2),
        ThresholdBound(0.9, 90, 0, 0.04),
        ThresholdBound(0.95, 80, 0, 0.05),
        ThresholdBound(0.99, 0, 0, 1.0),
    ]
    assert lowest_safe(bounds, 0.05) == bounds[1]
    assert lowest_safe(bounds, 0.01) is None
    assert lowest_safe(bounds[3:], 1.0) is None


def test_the_true_share_exceeds_the_bound_for_few_operators() -> None:
    """Each picks the lowest threshold that looks safe: the worst that they can do to the bound."""
    chance, grid, most = random.Random(1), [0.8, 0.85, 0.9, 0.95], 0.1
    # Of neighbours in each step, the share that is wrong: above each threshold it is 0.1 and more.
    wrong_in = dict(zip(grid, [0.2, 0.14, 0.12, 0.105], strict=True))
    fooled = 0
    for _ in range(300):
        samples = []
        for similarity in grid:
            wrong = sum(chance.random() < wrong_in[similarity] for _ in range(60))
            samples.append(Sample(similarity, 60 - wrong, wrong))
        fooled += lowest_safe(bounds_at(samples, grid, 0.95), most) is not None
    assert fooled <= 0.05 * 300
