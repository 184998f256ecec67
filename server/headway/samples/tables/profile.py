"""The profile of a CSV file, gathered batch by batch in two passes: of its rows, and of each column."""

from collections.abc import Sequence
from itertools import compress
from typing import Final

from .column import Budget, Column
from .findings import ColumnReport, Correlation, Duplicates
from .formats import folded
from .rows import Correlations, Numbers, Repetitions, strongest

_COUNTABLE: Final = 100_000
_CORRELATED: Final = 10
_STRONGEST: Final = 20
_CELLS_BESIDE_A_KEY: Final = 2


class Profile:
    """The profile of one file: `add` every batch, `turn`, `count` every batch again, then read the findings."""

    def __init__(self, header: Sequence[str], delimiter: str) -> None:
        self.rows = 0
        self.ragged = 0
        self.budget = Budget.for_columns(len(header))
        self._columns = [Column(name, self.budget, delimiter) for name in column_names(header)]
        self._repetitions = Repetitions()
        self._but_first = Repetitions()
        self._has_key = False
        self._measured: list[Column] = []
        self._correlations = self._rank_correlations = Correlations([], [])

    def add(self, records: Sequence[Sequence[str]], _numbers: Sequence[int]) -> None:
        """Take a batch. The cells that a short record lacks are missing; cells beyond the header are ignored."""
        width = len(self._columns)
        self.rows += len(records)
        self.ragged += len(records) - list(map(len, records)).count(width)
        self._repetitions.add(map(tuple, records))
        across = list(_across(records, width))
        if width > _CELLS_BESIDE_A_KEY:  # whether the first column is a key is not known yet
            self._but_first.add(_folded_rows(across[1:]))
        for column, cells in zip(self._columns, across, strict=True):
            column.add(cells)

    def turn(self) -> int:
        """End the first pass; return how many columns the second pass has to count."""
        to_count = sum(column.open for column in self._columns)
        for column in self._columns:
            column.turn(_COUNTABLE // max(1, to_count))
        means = {column.name: column.mean for column in self._columns if column.mean is not None}
        self._measured = [column for column in self._columns if column.name in means][:_CORRELATED]
        names = [column.name for column in self._measured]
        self._correlations = Correlations(names, [means[name] for name in names])
        self._rank_correlations = Correlations(names, [column.middle_rank for column in self._measured])
        self._repetitions.turn()
        self._but_first.turn()
        self._has_key = len(self._columns) > _CELLS_BESIDE_A_KEY and self._columns[0].is_key(
            self.rows - self._repetitions.rows
        )
        return to_count

    def count(self, records: Sequence[Sequence[str]], numbers: Sequence[int]) -> None:
        """Take a batch again."""
        self._repetitions.count(map(tuple, records), records, numbers)
        across = list(_across(records, len(self._columns)))
        if self._has_key:
            # Without the rows that are already known to be exact duplicates.
            fresh = [not self._repetitions.knows(tuple(record)) for record in records]
            rows = compress(_folded_rows(across[1:]), fresh)
            written = compress(zip(*across[1:], strict=True), fresh)
            self._but_first.count(rows, written, compress(numbers, fresh))
        measured: list[Numbers] = []
        for column, cells in zip(self._columns, across, strict=True):
            values = column.count(cells)
            if len(measured) < len(self._measured) and column is self._measured[len(measured)]:
                measured.append(values)
        self._correlations.extend(measured)
        self._rank_correlations.extend(
            [column.ranks(values) for column, values in zip(self._measured, measured, strict=True)]
        )

    def duplicates(self) -> Duplicates:
        """Return the rows that repeat an earlier one."""
        found = self._repetitions
        return Duplicates(rows=found.rows, exact=found.exact, examples=found.examples())

    def near_duplicates(self) -> Duplicates | None:
        """Return the rows that do apart from the key in their first column; None if that column is not a key."""
        if not self._has_key:
            return None
        found, key = self._but_first, self._columns[0].name
        rows = max(0, found.rows - self._repetitions.rows)
        return Duplicates(rows=rows, exact=found.exact and self._repetitions.exact, examples=found.examples(), key=key)

    def correlations(self) -> list[Correlation]:
        """Return the strongest correlations."""
        return strongest(self._correlations, self._rank_correlations, _STRONGEST)

    def columns(self) -> list[ColumnReport]:
        """Return the findings, column by column."""
        return [column.report() for column in self._columns]


def _folded_rows(across: Sequence[Sequence[str]]) -> "zip[tuple[str, ...]]":
    """Transpose columns into rows, ignoring case and surrounding blanks of each cell."""
    return zip(*[map(folded, cells) for cells in across], strict=True)


def _across(records: Sequence[Sequence[str]], width: int) -> "zip[tuple[str, ...]]":
    """Transpose rows into columns of this width."""
    if list(map(len, records)).count(width) < len(records):
        records = [[*record, *[""] * (width - len(record))][:width] for record in records]
    return zip(*records, strict=True)


def column_names(header: Sequence[str]) -> list[str]:
    """Return the header's names, or `column 3` for a blank one, made unique with `(2)`."""
    names: list[str] = []
    taken: set[str] = set()
    for position, cell in enumerate(header, 1):
        name = plain = cell.strip() or f"column {position}"
        copy = 1
        while name in taken:
            copy += 1
            name = f"{plain} ({copy})"
        taken.add(name)
        names.append(name)
    return names
