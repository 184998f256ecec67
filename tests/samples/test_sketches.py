"""The sketches' estimates against exact counts."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from headway.samples.tables.distribution import Distribution, Moments
from headway.samples.tables.sketches import DistinctSketch, QuantileSketch, TopValues
from hypothesis import given, settings
from hypothesis import strategies as st


def sketch_of(values: list[float], k: int = 2048, batch: int = 4000) -> QuantileSketch:
    sketch = QuantileSketch(k)
    for start in range(0, len(values), batch):
        sketch.extend(values[start : start + batch])
    return sketch


def ranks_off(values: list[float], sketch: QuantileSketch) -> float:
    """Return the largest rank error of 99 quantiles, as a share of all values."""
    ordered = sorted(values)
    found = Distribution(sketch.weighted())
    worst = 0.0
    for percent in range(1, 100):
        estimate = found.quantile(percent / 100)
        below = sum(value < estimate for value in ordered)
        upto = sum(value <= estimate for value in ordered)
        asked = percent / 100 * len(ordered)
        worst = max(worst, (below - asked) / len(ordered), (asked - upto) / len(ordered))
    return worst


@pytest.mark.parametrize("k", [256, 2048])
@pytest.mark.parametrize("shape", ["uniform", "sorted", "lognormal", "repeated"])
def test_every_percentile_is_within_the_stated_rank_error(shape: str, k: int) -> None:
    chance = Random(7)
    values = {
        "uniform": lambda: [chance.random() for _ in range(60_000)],
        "sorted": lambda: [float(number) for number in range(60_000)],
        "lognormal": lambda: [chance.lognormvariate(0, 2) for _ in range(60_000)],
        "repeated": lambda: [float(chance.randrange(50)) for _ in range(60_000)],
    }[shape]()
    sketch = sketch_of(values, k)
    assert ranks_off(values, sketch) <= sketch.rank_error


def test_a_quantile_sketch_stays_small() -> None:
    sketch = QuantileSketch(k=256)
    for start in range(0, 1_000_000, 5_000):
        sketch.extend(float(number) for number in range(start, start + 5_000))
    assert len(sketch.weighted()) < 4 * 256 + 64 * 12


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 10_000)), max_size=200))
def test_the_weights_of_a_quantile_sketch_add_up_to_the_number_of_values(weighted: list[tuple[float, int]]) -> None:
    sketch = QuantileSketch(k=64)
    for value, weight in weighted:
        sketch.add_weighted(value, weight)
    assert sum(weight for _, weight in sketch.weighted()) == sum(weight for _, weight in weighted)


def test_quantiles_of_few_values_are_exact() -> None:
    found = Distribution(sketch_of([5.0, 1.0, 4.0, 2.0, 3.0]).weighted())
    assert [found.quantile(share) for share in (0.0, 0.2, 0.21, 0.5, 1.0)] == [1.0, 1.0, 2.0, 3.0, 5.0]


@pytest.mark.parametrize("distinct", [0, 1, 1000, 2047, 20_000, 200_000])
def test_the_number_of_distinct_values_is_within_four_standard_errors(distinct: int) -> None:
    sketch = DistinctSketch(limit=2048)
    values = [f"value {number}" for number in range(distinct)]
    for start in range(0, distinct, 3000):
        sketch.extend(values[start : start + 3000])
        sketch.extend(values[: start + 10])  # seen before
    exact = distinct <= sketch.limit
    assert abs(sketch.estimate() - distinct) <= (0 if exact else 4 * sketch.relative_error * distinct)


def test_repetitions_are_counted_exactly_up_to_the_limit_and_their_hashes_remembered() -> None:
    sketch = DistinctSketch(limit=1000, name_repeated=2)
    for start in range(0, 900, 100):
        sketch.extend(range(start, start + 100))
    sketch.extend([5, 5, 17])
    assert (sketch.estimate(), sketch.repeats(), sketch.exact) == (900, 3, True)
    assert sketch.repeated == {5, 17}


def test_repetitions_beyond_the_limit_are_estimated_and_none_is_invented() -> None:
    sketch, fresh = DistinctSketch(limit=1000), DistinctSketch(limit=1000)
    for start in range(0, 100_000, 1000):
        values = [f"value {number}" for number in range(start, start + 1000)]
        fresh.extend(values)
        sketch.extend(values + values[:250])
    assert (fresh.repeats(), fresh.exact) == (0, False)
    assert sketch.repeats() == pytest.approx(25_000, rel=0.3)


def test_a_distinct_sketch_stays_small_with_any_number_of_values() -> None:
    sketch = DistinctSketch(limit=128)
    for start in range(0, 1_000_000, 5_000):
        sketch.extend([f"value {number}" for number in range(start, start + 5_000)])
        assert sum(map(len, sketch._slots)) <= 1.5 * 128
    assert abs(sketch.estimate() - 1_000_000) <= 4 * sketch.relative_error * 1_000_000


def test_counts_are_exact_with_few_distinct_values() -> None:
    top = TopValues(exact_limit=3, keep=2)
    top.extend(["a", "b", "a"])
    top.extend(["c", "a"])
    assert top.exact
    assert list(top.most_common(2)) == [("a", 3), ("b", 1)]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("aaaabbbccdefghijklmnopqrstuvwxyz"), max_size=60), max_size=12))
def test_no_frequent_value_is_missed_and_no_count_is_off_by_more_than_the_shortfall(
    batches: list[list[str]],
) -> None:
    top = TopValues(exact_limit=4, keep=2)
    truth: Counter[str] = Counter()
    for batch in batches:
        top.extend(batch)
        truth.update(batch)
    for value, count in truth.items():
        assert top.counts[value] <= count <= top.counts[value] + top.shortfall
    listed = dict(top.most_common(100))
    if listed:
        assert max(truth[value] for value in truth) == max(truth[value] for value in listed)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), min_size=1, max_size=8))
def test_moments_do_not_depend_on_the_batches(batches: list[list[float]]) -> None:
    merged, one = Moments(), Moments()
    for batch in batches:
        merged.extend(batch)
        for value in batch:
            one.add_weighted(value, 1)
    assert (merged.count, merged.minimum, merged.maximum) == (one.count, one.minimum, one.maximum)
    assert merged.mean == pytest.approx(one.mean, abs=1e-6)
    if one.deviation is not None:
        assert merged.deviation == pytest.approx(one.deviation, abs=1e-4)


def test_moments_beyond_the_range_of_a_float_are_omitted() -> None:
    moments = Moments()
    moments.extend([1e308, -1e308, 1e308])
    assert moments.deviation is None


def test_a_histogram_counts_outliers_in_its_outer_bars() -> None:
    values = [float(number % 100) for number in range(10_000)] + [1e9, -1e9]
    edges, counts = Distribution(sorted((value, 1) for value in values)).histogram(20, -1e9, 1e9)
    assert sum(counts) == len(values)
    assert -50 < edges[0] < edges[-1] < 150
    assert all(left < right for left, right in pairwise(edges))


def test_a_histogram_of_one_value_is_one_bar() -> None:
    assert Distribution([(7.0, 3)]).histogram(20, 7.0, 7.0) == ([7.0, 7.0], [3])
