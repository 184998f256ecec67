"""Histograms."""

from math import inf

from headway.metrics import Histogram


def test_a_histogram_counts_each_value_in_every_bucket_that_holds_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [(0.1, 2), (1.0, 3), (inf, 4)]
    assert histogram.count == 4
    assert histogram.sum == 7.65
