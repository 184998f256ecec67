"""One column of a CSV file, profiled in two passes and bounded memory.

A column is first counted value by value. If it has few distinct values, that is enough, and everything reported about
it is exact. A column with more switches to sketches during the first pass. They narrow down what the second pass has
to count to make the estimates exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .distribution import Distribution, Moments, Shape
from .findings import ColumnReport
from .formats import Lengths
from .kinds import MISSING, Kind, Words, choose_kind, tolerable
from .settled import Counted, Recounted, Sketched, fitting
from .sketches import DistinctSketch, QuantileSketch, TopValues

_LONGEST_KEY_CHARS: Final = 120
# After this many values, a column with too many misfits is text for good.
_UNDECIDED: Final = 1000


@dataclass(frozen=True, slots=True)
class Budget:
    """How much to remember of each column, so that a wide file takes no more memory than a narrow one."""

    exact_values: int
    top_values: int
    quantile_sketch: int
    quantile_window: int
    distinct_values: int
    formats: int

    @classmethod
    def for_columns(cls, columns: int) -> "Budget":
        """Divide about 25 MiB among the columns."""
        columns = max(1, columns)
        return cls(
            exact_values=max(64, min(10_000, 60_000 // columns)),
            top_values=max(16, min(512, 16_000 // columns)),
            quantile_sketch=max(256, min(2048, 64_000 // columns)),
            quantile_window=max(512, 1_200_000 // columns),
            distinct_values=max(512, min(500_000, 1_400_000 // columns)),
            formats=max(16, min(200, 8_000 // columns)),
        )

    @property
    def quantile_rank_error(self) -> float:
        """The error of an estimated quantile, as a share of all ranks."""
        return QuantileSketch(self.quantile_sketch).rank_error

    @property
    def distinct_relative_error(self) -> float:
        """The error of an estimated number of distinct values, as a share of it."""
        return DistinctSketch(self.distinct_values).relative_error


class Column:
    """One column: `add` its cells batch by batch, `turn`, `count` them again, `report`."""

    def __init__(self, name: str, budget: Budget, delimiter: str) -> None:
        self.name = name
        self._delimiter = delimiter
        self._missing = 0
        self._lengths = Lengths()
        self._top = TopValues(budget.exact_values, budget.top_values)
        self._budget = budget
        self._sketches: _Sketches | None = None
        self._settled: Counted | Recounted | None = None
        self._shape: Shape | None = None

    def add(self, cells: Sequence[str]) -> None:
        """Take the column's cells of one batch."""
        values = _present(cells)
        self._missing += len(cells) - len(values)
        if not values:
            return
        self._lengths.extend(values)
        values = self._shortened(values)
        self._top.extend(values)
        if self._sketches is not None:
            self._sketches.extend(values)
        elif not self._top.exact:
            self._sketches = _Sketches(choose_kind(list(self._top.counts), self._delimiter), self._budget)
            self._sketches.extend_counted(self._top.counts)

    @property
    def open(self) -> bool:
        """Whether the second pass has something to count."""
        return self._sketches is not None or isinstance(self._settled, Recounted)

    def turn(self, countable: int) -> None:
        """End the first pass. The second pass can count this many distinct values."""
        if self._sketches is not None:
            self._settled = Recounted(self._sketches.found(self._top), countable, self._budget.formats)
            self._sketches = None
        elif self._top.counts:
            self._settled = Counted(self._top.counts, self._delimiter)
        if self.mean is not None and self._settled is not None:
            self._shape = Shape(self._settled.moments)

    @property
    def mean(self) -> float | None:
        """The mean of numbers or dates, after `turn`."""
        return self._settled.moments.mean if self._settled is not None and self._settled.measured else None

    @property
    def middle_rank(self) -> float:
        """The rank below which half of the numbers are."""
        return self._settled.moments.count / 2 if self._settled is not None else 0.0

    def ranks(self, numbers: Sequence[float | None]) -> list[float | None]:
        """Return the rank of each number in the column, as estimated by the first pass."""
        rough = self._settled.rough if self._settled is not None else None
        if rough is None:
            return [None] * len(numbers)
        ranks = rough.ranks([number for number in numbers if number is not None])
        if len(ranks) == len(numbers):
            return [*ranks]
        following = iter(ranks)
        return [None if number is None else next(following) for number in numbers]

    def is_key(self, rows: int) -> bool:
        """Whether the column is a key, after `turn`: distinct in each row as far as is known, and not a measurement."""
        settled = self._settled
        return (
            settled is not None
            and settled.kind.type in ("integer", "text")
            and settled.distinct >= rows * (1 - settled.distinct_error)
        )

    def count(self, cells: Sequence[str]) -> list[float | None]:
        """Take the cells of one batch again; return them as numbers if the column has any, None for each other cell."""
        if self._settled is None or not (self.open or self._settled.measured):
            return []
        values = _present(cells)
        numbers = self._settled.extend(self._shortened(values)) if values else []
        if self._shape is not None and (read := [number for number in numbers if number is not None]):
            self._shape.extend(read)
        if len(values) == len(cells) or not self._settled.measured:
            return numbers
        following = iter(numbers)
        return [None if cell in MISSING else next(following) for cell in cells]

    def report(self) -> ColumnReport:
        """Return the findings, after both passes."""
        report = ColumnReport(name=self.name, type="empty", missing=self._missing, distinct=0, distinct_exact=True)
        if self._settled is not None:
            report.shortest, report.longest = int(self._lengths.shortest), self._lengths.longest
            report.mean_length, report.padded = self._lengths.mean, self._lengths.padded
            self._settled.describe(report)
        if self._shape is not None:
            report.order = self._shape.order
            report.skewness = self._shape.skewness if report.deviation is not None else None
        return report

    def _shortened(self, values: Sequence[str]) -> Sequence[str]:
        return values if self._lengths.longest <= _LONGEST_KEY_CHARS else [_shortened(value) for value in values]


def _present(cells: Sequence[str]) -> Sequence[str]:
    return cells if MISSING.isdisjoint(cells) else [cell for cell in cells if cell not in MISSING]


def _shortened(value: str) -> str:
    """Keep the beginning of a long value for readers, and its hash, so that distinct values stay distinct."""
    if len(value) <= _LONGEST_KEY_CHARS:
        return value
    return f"{value[: _LONGEST_KEY_CHARS - 20]}… ({hash(value) & (1 << 64) - 1:016x})"


class _Sketches:
    """What the first pass learns about a column with too many distinct values to count."""

    def __init__(self, kind: Kind, budget: Budget) -> None:
        self._kind = kind
        self._window = budget.quantile_window
        self._misfits = 0
        self._moments = Moments()
        self._quantiles = QuantileSketch(budget.quantile_sketch)
        self._distinct = DistinctSketch(budget.distinct_values)

    def extend(self, values: Sequence[str]) -> None:
        self._distinct.extend(values)
        if isinstance(self._kind, Words):
            return
        numbers = fitting(self._kind, values)
        if numbers:
            self._moments.extend(numbers)
            self._quantiles.extend(numbers)
        self._misfit(len(values) - len(numbers))

    def extend_counted(self, counts: Mapping[str, int]) -> None:
        self._distinct.extend(counts)
        misfits = 0
        for number, count in zip(self._kind.read_each(list(counts)), counts.values(), strict=True):
            if number is None:
                misfits += count
            else:
                self._moments.add_weighted(number, count)
                self._quantiles.add_weighted(number, count)
        # All at once: a frequent misfit may come first, before the numbers that outweigh it.
        self._misfit(misfits)

    def found(self, top: TopValues) -> Sketched:
        """Return what the second pass needs to know."""
        distinct = self._distinct.estimate()
        kind = self._kind if tolerable(self._misfits, self._moments.count) else Words()
        return Sketched(
            kind=kind,
            moments=self._moments,
            rough=None if isinstance(kind, Words) else Distribution(self._quantiles.weighted()),
            rank_error=self._quantiles.rank_error,
            window=self._window,
            distinct=distinct,
            distinct_exact=self._distinct.exact,
            distinct_error=0.0 if self._distinct.exact else 3 * self._distinct.relative_error,
            top=top,
            folded=self._distinct.limit // 2,
        )

    def _misfit(self, count: int) -> None:
        self._misfits += count
        total = self._moments.count + self._misfits
        if count and total > _UNDECIDED and not tolerable(self._misfits, total):
            self._kind = Words()
