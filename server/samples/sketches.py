"""Summaries of a stream in bounded memory, with known errors: quantiles, distinct values, top values."""

import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from math import sqrt
from typing import Final

_HASHES: Final = 1 << 64


class QuantileSketch:
    """The KLL sketch: a quantile's rank is within `rank_error` of the asked one, at 99 % confidence.

    Level h holds values that stand for 2**h each. A full level is sorted and every second value moves up.
    Karnin, Lang, Liberty: Optimal Quantile Approximation in Streams, 2016.
    """

    def __init__(self, k: int = 2048, seed: int = 0) -> None:
        self.k = k
        self._random = random.Random(seed)  # noqa: S311 - a coin, seeded so that a report is reproducible
        self._levels = [array("d")]

    @property
    def rank_error(self) -> float:
        """As measured by the authors of Apache DataSketches, for a single quantile."""
        return float(2.296 / self.k**0.9021)

    def extend(self, values: Iterable[float]) -> None:
        """Add values that stand for themselves."""
        self._levels[0].extend(values)
        self._compress()

    def add_weighted(self, value: float, weight: int) -> None:
        """Add a value that occurred `weight` times: once to each level whose bit is set."""
        for level in range(weight.bit_length()):
            if weight >> level & 1:
                self._level(level).append(value)
        self._compress()

    def weighted(self) -> list[tuple[float, int]]:
        """Return (value, weight) in ascending order; the weights add up to the number of values."""
        return sorted((value, 1 << height) for height, level in enumerate(self._levels) for value in level)

    def _level(self, height: int) -> "array[float]":
        while len(self._levels) <= height:
            self._levels.append(array("d"))
        return self._levels[height]

    def _compress(self) -> None:
        height = 0
        while height < len(self._levels):
            if len(self._levels[height]) > self._capacity(height):
                self._halve(height)
            height += 1

    def _capacity(self, height: int) -> int:
        # Lower levels may be smaller: their errors weigh less. Below 64 sorting would not pay.
        return max(64, int(self.k * (2 / 3) ** (len(self._levels) - 1 - height)))

    def _halve(self, height: int) -> None:
        values = sorted(self._levels[height])
        odd_one = [values.pop()] if len(values) % 2 else []  # keeps the sum of the weights exact
        self._level(height + 1).extend(values[self._random.getrandbits(1) :: 2])
        self._levels[height] = array("d", odd_one)


class DistinctSketch:
    """K minimum values: of n uniform hashes the k-th smallest stands near k/n.

    Its standard error is 1/sqrt(k - 2). Uses Python's string hash, which is keyed afresh in each process:
    nobody can prepare a file that deceives it, and two runs differ within the error.
    Beyer et al.: On Synopses for Distinct-Value Estimation, 2007.
    """

    def __init__(self, k: int = 2048) -> None:
        self.k = k
        self._hashes = array("q")  # the k smallest, then those not yet merged
        self._limit = _HASHES // 2

    @property
    def relative_error(self) -> float:
        """One standard error, as a share of the estimate."""
        return 1 / sqrt(self.k - 2)

    def extend(self, values: Iterable[str]) -> None:
        """Add values, seen before or not."""
        limit = self._limit
        self._hashes.extend([hashed for hashed in map(hash, values) if hashed < limit])
        if len(self._hashes) > 2 * self.k:
            self._merge()

    def estimate(self) -> int:
        """Return the number of different values; exact (but for hash collisions) up to k."""
        self._merge()
        if len(self._hashes) < self.k:
            return len(self._hashes)
        return round((self.k - 1) * _HASHES / (self._hashes[-1] + _HASHES // 2))

    def _merge(self) -> None:
        self._hashes = array("q", sorted(set(self._hashes))[: self.k])
        if len(self._hashes) == self.k:
            self._limit = self._hashes[-1]


class TopValues:
    """How often each value occurred: exact up to `exact_limit` different ones, then the frequent ones.

    From there on it is Misra and Gries' summary in the mergeable form of Agarwal et al. (2012): a true
    count lies between the stated one and that plus `shortfall`, and no value that is missing from it
    occurred more often than `shortfall`.
    """

    def __init__(self, exact_limit: int, keep: int) -> None:
        self.counts: Counter[str] = Counter()
        self.exact = True
        self.shortfall = 0
        self._exact_limit = exact_limit
        self._keep = keep

    def extend(self, values: Sequence[str]) -> None:
        """Count values. `exact` turns false when there are too many different ones."""
        self.counts.update(values)
        if self.exact:
            self.exact = len(self.counts) <= self._exact_limit
        elif len(self.counts) > 4 * self._keep:
            self._prune()

    def most_common(self, limit: int) -> Iterator[tuple[str, int]]:
        """Give those that are certainly more frequent than any value not given, most frequent first."""
        for value, count in self.counts.most_common(limit):
            if count > self.shortfall:
                yield value, count

    def _prune(self) -> None:
        cut = nlargest(self._keep + 1, self.counts.values())[-1]
        self.counts = Counter({value: count - cut for value, count in self.counts.items() if count > cut})
        self.shortfall += cut
