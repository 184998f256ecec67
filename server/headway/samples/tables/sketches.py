"""Summaries of a stream in bounded memory with known errors: quantiles, distinct values, most frequent values."""

import random
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from heapq import nlargest
from itertools import islice, pairwise
from math import sqrt
from typing import Final

_HASHES: Final = 1 << 64


class QuantileSketch:
    """The KLL sketch: a quantile's rank is within `rank_error` of the requested one, at 99 % confidence.

    Level h holds values with a weight of 2**h. A full level is sorted and every second value moves up a level.
    Karnin, Lang, Liberty: Optimal Quantile Approximation in Streams, 2016.
    """

    def __init__(self, k: int = 2048, seed: int = 0) -> None:
        self.k = k
        self._random = random.Random(seed)  # noqa: S311 - seeded so that a report is reproducible
        self._levels = [array("d")]

    @property
    def rank_error(self) -> float:
        """The error of a single quantile, as measured by the authors of Apache DataSketches."""
        return float(2.296 / self.k**0.9021)

    def extend(self, values: Iterable[float]) -> None:
        """Add values, each with a weight of 1."""
        self._levels[0].extend(values)
        self._compress()

    def add_weighted(self, value: float, weight: int) -> None:
        """Add a value that occurred `weight` times: once to each level whose bit is set in it."""
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
        # Lower levels may be smaller because their errors weigh less. Below 64 values sorting does not pay.
        return max(64, int(self.k * (2 / 3) ** (len(self._levels) - 1 - height)))

    def _halve(self, height: int) -> None:
        values = sorted(self._levels[height])
        odd_one = [values.pop()] if len(values) % 2 else []  # keeps the sum of the weights exact
        self._level(height + 1).extend(values[self._random.getrandbits(1) :: 2])
        self._levels[height] = array("d", odd_one)


class DistinctSketch:
    """How many distinct values there are: counted by their hashes up to `limit`, estimated beyond.

    The range of hashes is divided into slots. When there are too many hashes, the highest slots are dropped. The rest
    is a fair sample of the distinct values, in which repetitions can be counted too. Flajolet: On Adaptive Sampling,
    1990 (Wegman's idea).

    Uses Python's string hash, which has a new key in each process: no file can be prepared to deceive it, and two
    runs differ within the error. Among a million values, two collide in one of 10**7 runs.
    """

    def __init__(self, limit: int = 2048, *, name_repeated: int = 0) -> None:
        """`name_repeated`: how many of the hashes that occur more than once to remember in `repeated`."""
        self.limit = limit
        self.repeated: set[int] = set()
        self._name_repeated = name_repeated
        self._share = 1.0  # the share of all hashes that is sampled
        self._end = _HASHES // 2
        self._held = 0
        self._repeats: list[int] = []
        self._slots: list[array[int]] = []
        self._starts: list[int] = []
        self._lay_out(array("q"), 0)

    @property
    def exact(self) -> bool:
        """Whether every value has been counted, after `estimate`."""
        return self._share == 1.0

    @property
    def relative_error(self) -> float:
        """At most one standard error of an estimate, as a share of it."""
        return sqrt(2 / self.limit)

    def extend(self, values: Iterable[Hashable]) -> None:
        """Add values, seen before or not."""
        end = self._end
        hashes = sorted([hashed for hashed in map(hash, values) if hashed < end])
        first = 0
        for slot, following in zip(self._slots, [*self._starts[1:], end], strict=True):
            last = bisect_left(hashes, following, first)
            slot.extend(hashes[first:last])
            first = last
        self._held += len(hashes)
        if self._held > 1.5 * self.limit:
            self._settle()

    def estimate(self) -> int:
        """Return the number of distinct values."""
        self._settle()
        return round(self._held / self._share)

    def repeats(self) -> int:
        """Return how many values repeat an earlier one."""
        self._settle()
        return round(sum(self._repeats) / self._share)

    def _settle(self) -> None:
        """Keep each hash once, and at most `limit` of them."""
        for place, slot in enumerate(self._slots):
            once = array("q", set(slot))
            if len(once) < len(slot) and len(self.repeated) < self._name_repeated:
                ordered = sorted(slot)
                again = (hashed for hashed, following in pairwise(ordered) if hashed == following)
                self.repeated.update(islice(dict.fromkeys(again), self._name_repeated - len(self.repeated)))
            self._repeats[place] += len(slot) - len(once)
            self._slots[place] = once
        self._held = sum(map(len, self._slots))
        while self._held > self.limit:
            if len(self._slots) == 1:
                self._lay_out(self._slots[0], self._repeats[0])
            slots = len(self._slots)
            self._held -= len(self._slots.pop())
            self._repeats.pop()
            self._end = self._starts.pop()
            self._share *= (slots - 1) / slots

    def _lay_out(self, hashes: "array[int]", repeats: int) -> None:
        """Divide the range into slots of a few thousand hashes, so that sorting a slot takes little memory."""
        start, slots = -_HASHES // 2, max(2, min(128, self.limit // 64))
        self._starts = [start + (self._end - start) * place // slots for place in range(slots)]
        ordered = array("q", sorted(hashes))
        cuts = [bisect_left(ordered, start) for start in self._starts]
        self._slots = [ordered[cut:end] for cut, end in pairwise([*cuts, len(hashes)])]
        self._repeats = [repeats * len(slot) // max(1, len(hashes)) for slot in self._slots]


class TopValues:
    """How often each value occurred: exact up to `exact_limit` distinct values, beyond that only frequent ones.

    Beyond the limit it is the summary of Misra and Gries in the mergeable form of Agarwal et al. (2012): a true count
    is between the stated count and that plus `shortfall`, and no value that is absent occurred more often than
    `shortfall`.
    """

    def __init__(self, exact_limit: int, keep: int) -> None:
        self.counts: Counter[str] = Counter()
        self.exact = True
        self.shortfall = 0
        self._exact_limit = exact_limit
        self._keep = keep

    def extend(self, values: Iterable[str] | Mapping[str, int]) -> None:
        """Count values, or add counts. `exact` becomes false when there are too many distinct ones."""
        self.counts.update(values)
        if self.exact:
            self.exact = len(self.counts) <= self._exact_limit
        elif len(self.counts) > 4 * self._keep:
            self._prune()

    def most_common(self, limit: int) -> Iterator[tuple[str, int]]:
        """Yield the values that are certainly more frequent than any other, most frequent first."""
        for value, count in self.counts.most_common(limit):
            if count > self.shortfall:
                yield value, count

    def _prune(self) -> None:
        cut = nlargest(self._keep + 1, self.counts.values())[-1]
        self.counts = Counter({value: count - cut for value, count in self.counts.items() if count > cut})
        self.shortfall += cut
