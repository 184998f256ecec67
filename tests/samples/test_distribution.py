"""The second pass over numbers, which makes a sketch's estimates exact."""

from itertools import pairwise
from math import ceil
from random import Random

import pytest
from headway.samples.tables.distribution import Distribution, Moments, Refinement, Shape
from headway.samples.tables.sketches import QuantileSketch

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def refined(values: list[float], *, room: int = 10_000, error: float = 0.03) -> tuple[Refinement, list[float]]:
    """Sketch the values, then make a second pass; return its refinement and the histogram's edges."""
    sketch, moments = QuantileSketch(256), Moments()
    for start in range(0, len(values), 1_000):
        sketch.extend(values[start : start + 1_000])
        moments.extend(values[start : start + 1_000])
    rough = Distribution(sketch.weighted())
    edges, _ = rough.histogram(24, moments.minimum, moments.maximum)
    refinement = Refinement(rough, moments, SHARES, error, edges)
    for start in range(0, len(values), 700):
        refinement.extend(values[start : start + 700], room)
    return refinement, edges


@pytest.mark.parametrize("shape", ["normal", "sorted", "few", "heavy"])
def test_the_second_pass_gives_exact_quantiles(shape: str) -> None:
    chance = Random(1)
    values = {
        "normal": lambda: [chance.gauss(0, 1) for _ in range(40_000)],
        "sorted": lambda: [float(number) for number in range(40_000)],
        "few": lambda: [float(chance.randrange(5)) for _ in range(40_000)],
        "heavy": lambda: [max(0.0, chance.gauss(0, 1)) for _ in range(40_000)],
    }[shape]()
    refinement, _ = refined(values, room=20_000)
    ordered = sorted(values)
    assert refinement.quantiles() == [ordered[ceil(share * len(values)) - 1] for share in SHARES]


def test_the_second_pass_counts_the_bars_of_a_histogram_exactly() -> None:
    chance = Random(2)
    values = [chance.lognormvariate(0, 1) for _ in range(30_000)]
    refinement, edges = refined(values)
    inner = [sum(low <= value < high for value in values) for low, high in pairwise(edges)][1:-1]
    assert refinement.bins[1:-1] == inner
    assert sum(refinement.bins) == len(values)


def test_zeros_and_numbers_below_zero_are_counted() -> None:
    refinement, _ = refined([float(number % 10 - 3) for number in range(5_000)])
    assert (refinement.negative, refinement.zeros) == (1_500, 500)


def test_windows_that_would_take_too_much_memory_are_abandoned() -> None:
    refinement, _ = refined([float(number) for number in range(40_000)], room=100)
    assert refinement.quantiles() is None
    assert refinement._windows == []


def test_a_quantile_outside_its_window_is_not_reported_as_exact() -> None:
    moments = Moments()
    moments.extend([float(number) for number in range(1_000)])
    wrong = Distribution([(float(number), 1) for number in range(500, 1_000)])
    refinement = Refinement(wrong, moments, SHARES, 0.01, [0.0, 999.0])
    refinement.extend([float(number) for number in range(1_000)], room=1_000)
    assert refinement.quantiles() is None


@pytest.mark.parametrize(
    ("numbers", "order"),
    [([1, 2, 2, 3], "ascending"), ([3, 1, 0], "descending"), ([1, 3, 2], None), ([5, 5], None), ([1], None)],
)
def test_the_order_of_numbers_is_detected_across_batches(numbers: list[float], order: str | None) -> None:
    moments = Moments()
    moments.extend(numbers)
    shape = Shape(moments)
    for number in numbers:
        shape.extend([number])
    assert shape.order == order


def test_skewness_is_the_third_standardised_moment() -> None:
    numbers = [1.0, 2.0, 2.0, 3.0, 12.0]
    moments = Moments()
    moments.extend(numbers)
    shape = Shape(moments)
    shape.extend(numbers[:2])
    shape.extend(numbers[2:])
    spread = (sum((number - 4) ** 2 for number in numbers) / 5) ** 0.5
    assert shape.skewness == pytest.approx(sum((number - 4) ** 3 for number in numbers) / 5 / spread**3)


def test_equal_numbers_share_the_middle_of_their_ranks() -> None:
    found = Distribution([(1.0, 2), (5.0, 4), (5.0, 2), (9.0, 2)])
    assert found.ranks([1.0, 5.0, 9.0, 100.0]) == [1.0, 5.0, 9.0, 10.0]
