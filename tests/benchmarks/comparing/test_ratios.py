"""The statistics of `python -m tests.benchmarks --against`."""

import random

import pytest

from tests.benchmarks.comparing.ratios import ratio_of


def pairs(*ratios: float) -> list[tuple[float, float]]:
    return [(100.0, 100.0 * ratio) for ratio in ratios]


def test_the_interval_of_fifteen_pairs_is_from_the_fourth_smallest_to_the_fourth_largest() -> None:
    ratio = ratio_of(pairs(*(1 + number / 100 for number in range(15))))
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1.03, 1.07, 1.11))
    assert ratio.confidence == pytest.approx(0.9648, abs=1e-4)


@pytest.mark.parametrize(("count", "confidence"), [(1, 0.0), (3, 0.75), (5, 0.9375)])
def test_the_interval_of_fewer_than_six_pairs_is_their_range_and_says_how_little_it_holds(
    count: int, confidence: float
) -> None:
    ratio = ratio_of(pairs(*range(1, count + 1)))
    assert (ratio.low, ratio.high) == pytest.approx((1, count))
    assert ratio.confidence == confidence


@pytest.mark.parametrize("count", [6, 7, 15, 16, 40])
def test_the_interval_holds_the_true_median_in_95_percent_of_runs_whatever_the_noise(count: int) -> None:
    draw = random.Random(count)
    runs = 2000
    held = 0
    for _ in range(runs):
        # Skewed: the median of the exponential is ln 2.
        ratio = ratio_of(pairs(*(draw.expovariate(1.0) for _ in range(count))))
        held += ratio.low <= 0.6931 <= ratio.high
    assert held / runs >= 0.94


def test_a_measurement_that_a_neighbour_halved_does_not_widen_the_interval() -> None:
    ratio = ratio_of(pairs(*[1.0] * 12, 0.5, 0.5, 2.0))
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(("ratios", "lost"), [([0.96] * 15, True), ([0.97] * 15, False), ([0.9] * 11 + [1] * 4, False)])
def test_something_is_lost_if_the_whole_interval_lies_below_the_limit(ratios: list[float], lost: bool) -> None:
    assert ratio_of([(1.0, ratio) for ratio in ratios]).nothing_lost is not lost
