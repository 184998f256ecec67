"""The distribution of numbers: moments of a stream, quantiles and a histogram, first estimated and then exact."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice, pairwise
from math import ceil, inf, isfinite, nan, sqrt
from operator import ge, le


class Moments:
    """Count, extremes, mean and standard deviation, merged batch by batch.

    Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum, self.maximum = inf, -inf
        self._mean = 0.0
        self._squares = 0.0  # of the deviations from the mean

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
        """The mean; None if it is beyond the range of a float."""
        return self._mean if self.count and isfinite(self._mean) else None

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None for fewer than two values."""
        if self.count < 2 or not isfinite(self._squares):  # noqa: PLR2004
            return None
        return sqrt(self._squares / (self.count - 1))

    def _merge(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        distance = mean - self._mean
        self._squares += squares + distance * distance * (self.count * count / total)
        self._mean += distance * (count / total)
        self.count = total


class Shape:
    """Skewness, which needs a known mean, and whether the numbers are sorted."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._cubes = 0.0
        self._last: float | None = None
        self._rising = self._falling = True

    def extend(self, numbers: Sequence[float]) -> None:
        """Take the next numbers, at least one; the moments must have a mean."""
        mean = self._moments.mean or 0.0
        distances = [number - mean for number in numbers]
        self._cubes += sum([distance * distance * distance for distance in distances])
        if self._rising or self._falling:
            following = numbers if self._last is None else [self._last, *numbers]
            self._rising = self._rising and all(map(le, following, islice(following, 1, None)))
            self._falling = self._falling and all(map(ge, following, islice(following, 1, None)))
            self._last = numbers[-1]

    @property
    def order(self) -> str | None:
        """`ascending` or `descending`; None for neither, and for constant numbers."""
        if self._rising == self._falling:
            return None
        return "ascending" if self._rising else "descending"

    @property
    def skewness(self) -> float | None:
        """The third standardised moment; None if it is not defined or beyond the range of a float."""
        moments = self._moments
        if not moments.deviation:
            return None
        spread = moments.deviation * sqrt((moments.count - 1) / moments.count)
        skewness = self._cubes / moments.count / spread / spread / spread if spread else nan
        return skewness if isfinite(skewness) else None


class Distribution:
    """Values in ascending order, each with its weight."""

    def __init__(self, weighted: Sequence[tuple[float, int]]) -> None:
        self._values = [value for value, _ in weighted]
        self._ranks = list(accumulate(weight for _, weight in weighted))
        self._by_value: tuple[list[float], list[float]] | None = None

    def quantile(self, share: float) -> float:
        """Return the smallest value that at least this share of all values do not exceed. There must be values."""
        rank = share * self._ranks[-1]
        return self._values[min(bisect_left(self._ranks, rank), len(self._values) - 1)]

    def ranks(self, numbers: Iterable[float]) -> list[float]:
        """Return the rank of each number. Equal numbers share the middle one of their ranks."""
        values, middles = self._middles()
        return [middles[bisect_left(values, number)] for number in numbers]

    def _middles(self) -> tuple[list[float], list[float]]:
        if self._by_value is None:
            upto = dict(zip(self._values, self._ranks, strict=True))  # the last rank of equal values
            middles = [(below + rank) / 2 for below, rank in pairwise([0, *upto.values()])]
            self._by_value = [*upto], [*middles, float(self._ranks[-1])]
        return self._by_value

    def histogram(self, bins: int, minimum: float, maximum: float) -> tuple[list[float], list[int]]:
        """Return the edges and the counts between them. The first and last bar include the outliers.

        Otherwise a single outlier among a million values would leave only one visible bar. The extremes are passed in
        because a sketch may have dropped them.
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


class Refinement:
    """Exact bins and quantiles in a second pass over numbers whose distribution is roughly known.

    A sketch narrows each quantile down to a window. Only the numbers in these windows are kept, and those below are
    counted: the quantile is then the number with the right rank.
    """

    def __init__(
        self, rough: Distribution, moments: Moments, shares: Sequence[float], error: float, edges: Sequence[float]
    ) -> None:
        """`error`: how far off a rank of `rough` may be, as a share of all ranks. The outer bins are open."""
        self._count = moments.count
        self._shares = shares
        self._edges = edges[1:-1]
        self._bins = [0] * (len(edges) - 1)
        self._windows = [
            _Window(
                rough.quantile(share - error) if share > error else moments.minimum,
                rough.quantile(share + error) if share + error < 1 else moments.maximum,
            )
            for share in shares
        ]

        self.negative = self.zeros = 0

    @property
    def bins(self) -> list[int]:
        """How many numbers are between the edges."""
        return self._bins

    def extend(self, numbers: Sequence[float], room: int) -> None:
        """Take some numbers again. Windows that together hold more than `room` numbers are abandoned."""
        ordered = sorted(numbers)
        cuts = [0, *[bisect_left(ordered, edge) for edge in self._edges], len(ordered)]
        self._bins = [count + right - left for count, (left, right) in zip(self._bins, pairwise(cuts), strict=True)]
        below_zero = bisect_left(ordered, 0.0)
        self.negative += below_zero
        self.zeros += bisect_right(ordered, 0.0, below_zero) - below_zero
        for window in self._windows:
            window.extend(ordered)
        if sum(len(window.inside) for window in self._windows) > room:
            self._windows = []

    def quantiles(self) -> list[float] | None:
        """Return the exact quantiles; None if a window was abandoned or missed its quantile."""
        ranks = (max(1, ceil(share * self._count)) for share in self._shares)
        found = [window.value_at(rank) for window, rank in zip(self._windows, ranks, strict=False)]
        exact = [value for value in found if value is not None]
        return exact if len(exact) == len(self._shares) else None


class _Window:
    """The numbers strictly between two bounds, and how many are below and on them."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._below = self._at_low = self._at_high = 0
        self.inside = array("d")

    def extend(self, ordered: Sequence[float]) -> None:
        low = bisect_left(ordered, self._low)
        above_low = bisect_right(ordered, self._low, low)
        high = bisect_left(ordered, self._high, low)
        self._below += low
        self._at_low += above_low - low
        self.inside.extend(ordered[above_low:high])
        self._at_high += bisect_right(ordered, self._high, high) - high

    def value_at(self, rank: int) -> float | None:
        """Return the number with this rank (from 1), None if it is outside the window."""
        rank -= self._below
        if rank < 1:
            return None
        if rank <= self._at_low:
            return self._low
        rank -= self._at_low
        if rank <= len(self.inside):
            return sorted(self.inside)[rank - 1]
        return self._high if rank <= len(self.inside) + self._at_high else None
