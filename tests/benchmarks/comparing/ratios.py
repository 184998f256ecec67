"""The ratio of paired measurements: its median and an interval for it. Pure functions.

The interval is that of the sign test: from the k-th smallest to the k-th largest ratio, with the largest k that keeps a
confidence of at least 95 %; for 15 pairs it is the 4th from either end (96.5 %). It is exact for any distribution, and
a bootstrap of the median approximates it with random numbers. A t-interval of the log ratios would be slightly narrower
if the noise were normal. It is not: another process on the machine may halve one measurement in ten, which shifts the
mean and widens such an interval until nothing could be called slower.

Fewer than six pairs cannot give 95 %: the interval is then the whole range, and `confidence` is what that gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE = 0.95
NOTHING_LOST = 0.97
"""A ratio that counts as no loss if the interval reaches it: 15 pairs cannot distinguish smaller losses from noise."""


@dataclass(frozen=True)
class Ratio:
    """A median ratio and its interval, which holds the true median with this confidence."""

    median: float
    low: float
    high: float
    confidence: float

    @property
    def nothing_lost(self) -> bool:
        """Whether the interval reaches a ratio that counts as no loss."""
        return self.high >= NOTHING_LOST

    @property
    def interval(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """The ratio second/first of pairs of measurements, at least one pair, all above zero."""
    ratios = sorted(second / first for first, second in pairs)
    rank = _rank(len(ratios))
    return Ratio(median(ratios), ratios[rank - 1], ratios[-rank], _confidence(len(ratios), rank))


def _rank(count: int) -> int:
    """The largest rank whose interval keeps the confidence, 1 (the whole range) if none does."""
    return max((rank for rank in range(1, count // 2 + 1) if _confidence(count, rank) >= CONFIDENCE), default=1)


def _confidence(count: int, rank: int) -> float:
    """How often the rank-th smallest and largest of `count` values have the distribution's median between them."""
    outside = 2 * sum(comb(count, below) for below in range(rank)) / float(2**count)
    return max(0.0, 1 - outside)
