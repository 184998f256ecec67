"""How numbers are distributed: moments of a stream, and quantiles and a histogram of weighted values."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import inf, isfinite, sqrt


class Moments:
    """Count, extremes, mean and standard deviation, merged batch by batch.

    Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum, self.maximum = inf, -inf
        self._mean = 0.0
        self._squares = 0.0  # of the distances from the mean

    def extend(self, values: Sequence[float]) -> None:
        """Add a batch, which must not be empty."""
        mean = sum(values) / len(values)
        # Not **, which raises where * overflows to infinity.
        self._merge(len(values), mean, sum([(value - mean) * (value - mean) for value in values]))
        self.minimum = min(self.minimum, min(values))  # noqa: PLW3301 - no copy of the batch
        self.maximum = max(self.maximum, max(values))  # noqa: PLW3301

    def add_weighted(self, value: float, weight: int) -> None:
        """Add a value that occurred `weight` times."""
        self._merge(weight, value, 0.0)
        self.minimum, self.maximum = min(self.minimum, value), max(self.maximum, value)

    @property
    def mean(self) -> float | None:
        """None when it is beyond what a float can hold."""
        return self._mean if self.count and isfinite(self._mean) else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        if self.count < 2 or not isfinite(self._squares):  # noqa: PLR2004
            return None
        return sqrt(self._squares / (self.count - 1))

    def _merge(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        distance = mean - self._mean
        self._squares += squares + distance * distance * (self.count * count / total)
        self._mean += distance * (count / total)
        self.count = total


class Distribution:
    """Values in ascending order, each with the number of times it stands for."""

    def __init__(self, weighted: Sequence[tuple[float, int]]) -> None:
        self._values = [value for value, _ in weighted]
        self._ranks = list(accumulate(weight for _, weight in weighted))

    def quantile(self, share: float) -> float:
        """Return the smallest value that at least this share of all is not above; there must be values."""
        rank = share * self._ranks[-1]
        return self._values[min(bisect_left(self._ranks, rank), len(self._values) - 1)]

    def histogram(self, bins: int, minimum: float, maximum: float) -> tuple[list[float], list[int]]:
        """Return the edges and the counts between them; the first and last bar take in the outliers.

        One stray value in a million would otherwise leave nothing but one bar to see. The extremes are
        passed in because a sketch may have dropped them.
        """
        low, high = self._bulk(minimum, maximum)
        if low == high or not isfinite(high - low):
            return [low, high], [self._ranks[-1]]
        edges = [low + (high - low) * (step / bins) for step in range(bins + 1)]
        below = [self._rank_below(edge) for edge in edges[1:-1]]
        return edges, [right - left for left, right in zip([0, *below], [*below, self._ranks[-1]], strict=True)]

    def _bulk(self, minimum: float, maximum: float) -> tuple[float, float]:
        low, high = self.quantile(0.01), self.quantile(0.99)
        margin = (high - low) / 4
        if margin == 0 or not isfinite(margin):
            return minimum, maximum
        return max(minimum, low - margin), min(maximum, high + margin)

    def _rank_below(self, edge: float) -> int:
        position = bisect_left(self._values, edge)
        return self._ranks[position - 1] if position else 0
