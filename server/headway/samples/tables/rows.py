"""Whole rows of a CSV file: duplicates, and correlations between columns."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import isfinite, sqrt
from operator import mul
from typing import Final

from .findings import Correlation, Repeated
from .sketches import DistinctSketch

_DIFFERENT_ROWS: Final = 400_000
_REMEMBERED: Final = 500
_EXAMPLES: Final = 5
_LINES: Final = 5
_SHOWN_CHARS: Final = 100
_SHOWN_CELLS: Final = 30
_FEWEST: Final = 3  # two points are always on a line

Row = tuple[str, ...]
Numbers = Sequence[float | None]


class Repetitions:
    """How many rows repeat an earlier one, with examples. Exact up to 400,000 distinct rows.

    The first pass finds hashes that occur twice, the second pass the rows with these hashes.
    """

    def __init__(self) -> None:
        self.rows, self.exact = 0, True
        """How many rows repeat an earlier one, after `turn`."""
        self._seen = DistinctSketch(_DIFFERENT_ROWS, name_repeated=_REMEMBERED)
        self._hashes: set[int] = set()
        self._found: dict[int, Repeated] = {}

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in the first pass. They are compared cell by cell, as written."""
        self._seen.extend(rows)

    def turn(self) -> None:
        """End the first pass."""
        self.rows, self.exact = self._seen.repeats(), self._seen.exact
        self._hashes = self._seen.repeated
        self._seen = DistinctSketch()

    def count(self, rows: Iterable[Row], written: Iterable[Sequence[str]], numbers: Iterable[int]) -> None:
        """Take rows again: as compared, as written, and the lines that they begin on."""
        if self._hashes:
            known = self._hashes.__contains__
            for row, cells, number in zip(rows, written, numbers, strict=True):
                if known(hash(row)):
                    self._note(hash(row), cells, number)

    def knows(self, row: Row) -> bool:
        """Whether the row is one of the repeated rows that are remembered, after `turn`."""
        return hash(row) in self._hashes

    def examples(self) -> list[Repeated]:
        """Return some of them, most frequent first."""
        found = [row for row in self._found.values() if row.count > 1]
        return sorted(found, key=lambda row: -row.count)[:_EXAMPLES]

    def _note(self, hashed: int, row: Sequence[str], number: int) -> None:
        found = self._found.get(hashed)
        if found is None:
            cells = [cell if len(cell) <= _SHOWN_CHARS else cell[:_SHOWN_CHARS] + "…" for cell in row[:_SHOWN_CELLS]]
            found = self._found[hashed] = Repeated(cells=cells, count=0, lines=[])
        found.count += 1
        if len(found.lines) < _LINES:
            found.lines.append(number)


class Correlations:
    """Pearson's r of each pair of columns, over the rows in which both have a number.

    The means are known beforehand and deviations from them are summed, so that no digits are lost.
    """

    def __init__(self, names: Sequence[str], means: Sequence[float]) -> None:
        self._means = means
        self._pairs = {
            (first, second): _Pair(names[first], names[second]) for first, second in combinations(range(len(names)), 2)
        }

    def extend(self, columns: Sequence[Numbers]) -> None:
        """Take a batch: the numbers of each column, None where one is missing."""
        distances = [
            [None if number is None else number - mean for number in column]
            for column, mean in zip(columns, self._means, strict=True)
        ]
        whole = [_whole(column) for column in distances]
        own = [(0.0, 0.0) if column is None else _own_sums(column) for column in whole]
        for (first, second), pair in self._pairs.items():
            left, right = whole[first], whole[second]
            if left is None or right is None:
                pair.extend_where_both(distances[first], distances[second])
            else:
                pair.extend(left, right, own[first], own[second])

    def found(self) -> dict[tuple[str, str], tuple[float, int]]:
        """Return r and the number of rows, for each pair for which r is defined."""
        return {pair.names: result for pair in self._pairs.values() if (result := pair.result()) is not None}


def strongest(linear: Correlations, ranked: Correlations, limit: int) -> list[Correlation]:
    """Return the most closely correlated pairs, by values or by ranks, positive or negative."""
    ranks = ranked.found()
    pairs = [
        Correlation(columns=names, pearson=r, spearman=ranks[names][0] if names in ranks else None, rows=rows)
        for names, (r, rows) in linear.found().items()
    ]
    return sorted(pairs, key=lambda pair: -max(abs(pair.pearson), abs(pair.spearman or 0)))[:limit]


class _Pair:
    """The sums, squares and products of two columns, over the rows with a number in both."""

    def __init__(self, first: str, second: str) -> None:
        self.names = (first, second)
        self._count = 0
        self._sums = (0.0, 0.0)
        self._squares = (0.0, 0.0)
        self._products = 0.0

    def extend(
        self, left: Sequence[float], right: Sequence[float], own: tuple[float, float], other: tuple[float, float]
    ) -> None:
        self._count += len(left)
        self._sums = (self._sums[0] + own[0], self._sums[1] + other[0])
        self._squares = (self._squares[0] + own[1], self._squares[1] + other[1])
        self._products += sum(map(mul, left, right))

    def extend_where_both(self, left: Numbers, right: Numbers) -> None:
        both = [(x, y) for x, y in zip(left, right, strict=True) if x is not None and y is not None]
        xs, ys = [x for x, _ in both], [y for _, y in both]
        self.extend(xs, ys, _own_sums(xs), _own_sums(ys))

    def result(self) -> tuple[float, int] | None:
        """Return None where r is not defined: too few rows, a constant column, or beyond the range of a float."""
        if self._count < _FEWEST:
            return None
        spread = [square - total * total / self._count for square, total in zip(self._squares, self._sums, strict=True)]
        if not all(isfinite(square) and square > 0 for square in spread):
            return None
        together = self._products - self._sums[0] * (self._sums[1] / self._count)
        r = together / (sqrt(spread[0]) * sqrt(spread[1]))
        if not isfinite(r):
            return None
        return round(max(-1.0, min(1.0, r)), 4), self._count


def _whole(column: Numbers) -> list[float] | None:
    numbers = [number for number in column if number is not None]
    return numbers if len(numbers) == len(column) else None


def _own_sums(numbers: Sequence[float]) -> tuple[float, float]:
    return sum(numbers), sum(map(mul, numbers, numbers))
