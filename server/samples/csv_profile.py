"""The profile of a CSV file's columns, gathered batch by batch in bounded memory.

A column is first counted value by value. While it has few different values that is all there is to do,
and everything said about it in the end is exact. A column with more goes over to sketches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .csv_kinds import MISSING, Kind, Shown, Words, choose_kind, tolerable
from .distribution import Distribution, Moments
from .sketches import DistinctSketch, QuantileSketch, TopValues

_LONGEST_KEY_CHARS: Final = 120
_TOP: Final = 10
_BINS: Final = 24
# After this many values a column that reads badly is text for good.
_PATIENCE: Final = 1000


class Wire(BaseModel):
    """What stands in the result, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class TopValue(Wire):
    value: str
    count: int


class Quantiles(Wire):
    p05: Shown
    p25: Shown
    p50: Shown
    p75: Shown
    p95: Shown


class Histogram(Wire):
    edges: list[Shown] = Field(description="One more than counts. The outer bars take in the outliers.")
    counts: list[int]


class ColumnReport(Wire):
    name: str
    type: str = Field(description="integer, number, boolean, date, datetime, text or empty")
    form: str | None = Field(default=None, description="How dates that are not ISO 8601 are written")
    missing: int
    misfits: int = Field(default=0, description="Values that the type does not fit, at most one in 100")
    distinct: int = Field(description="Different values as they are written")
    distinct_exact: bool
    longest: int = Field(default=0, description="Characters in the longest value")
    min: Shown | None = None
    max: Shown | None = None
    mean: Shown | None = None
    deviation: float | None = Field(default=None, description="Sample standard deviation")
    quantiles: Quantiles | None = None
    quantiles_exact: bool = True
    histogram: Histogram | None = None
    top: list[TopValue] = Field(default=[], description="Most frequent values")
    top_exact: bool = True
    top_shortfall: int = Field(default=0, description="By how much a count in `top` may be too low")


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be remembered of each column, so that a wide file takes no more memory than a narrow one."""

    exact_values: int
    top_values: int
    quantile_sketch: int
    distinct_sketch: int

    @classmethod
    def for_columns(cls, columns: int) -> "Budget":
        """Share out about 15 MiB."""
        return cls(
            exact_values=max(64, min(10_000, 60_000 // max(1, columns))),
            top_values=max(16, min(512, 16_000 // max(1, columns))),
            quantile_sketch=max(256, min(2048, 64_000 // max(1, columns))),
            distinct_sketch=max(512, min(16_384, 128_000 // max(1, columns))),
        )

    @property
    def quantile_rank_error(self) -> float:
        """Of a column with more than `exact_values`."""
        return QuantileSketch(self.quantile_sketch).rank_error

    @property
    def distinct_relative_error(self) -> float:
        """Of a column with more than `exact_values`."""
        return DistinctSketch(self.distinct_sketch).relative_error


class Profile:
    """All columns of one file."""

    def __init__(self, header: Sequence[str], delimiter: str) -> None:
        self.rows = 0
        self.ragged = 0
        self.budget = Budget.for_columns(len(header))
        self._columns = [Column(name, self.budget, delimiter) for name in column_names(header)]

    def add(self, records: list[list[str]]) -> None:
        """Take a batch. A short record's cells are missing, those beyond the header are not looked at."""
        width = len(self._columns)
        self.rows += len(records)
        ragged = len(records) - list(map(len, records)).count(width)
        if ragged:
            self.ragged += ragged
            records = [(record + [""] * (width - len(record)))[:width] for record in records]
        for column, values in zip(self._columns, zip(*records, strict=True), strict=True):
            column.add(values)

    def columns(self) -> list[ColumnReport]:
        """Say what was found, column by column."""
        return [column.report() for column in self._columns]


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


class Column:
    """One column: exact counts, and from too many different values on the sketches beside them."""

    def __init__(self, name: str, budget: Budget, delimiter: str) -> None:
        self._name = name
        self._delimiter = delimiter
        self._missing = 0
        self._longest = 0
        self._top = TopValues(budget.exact_values, budget.top_values)
        self._budget = budget
        self._sketches: _Sketches | None = None

    def add(self, values: Sequence[str]) -> None:
        """Take the column's cells of one batch."""
        longest = max(map(len, values))
        self._longest = max(self._longest, longest)
        if longest > _LONGEST_KEY_CHARS:
            values = [_shortened(value) for value in values]
        if not MISSING.isdisjoint(values):
            present = [value for value in values if value not in MISSING]
            self._missing += len(values) - len(present)
            values = present
        self._top.extend(values)
        if self._sketches is not None:
            self._sketches.extend(values)
        elif not self._top.exact:
            self._sketches = _Sketches(choose_kind(list(self._top.counts), self._delimiter), self._budget)
            self._sketches.extend_counted(self._top.counts)

    def report(self) -> ColumnReport:
        """Say what was found."""
        report = ColumnReport(
            name=self._name,
            type="empty",
            missing=self._missing,
            distinct=len(self._top.counts),
            distinct_exact=True,
            longest=self._longest,
            top=[TopValue(value=value, count=count) for value, count in self._top.most_common(_TOP)],
            top_exact=self._top.exact,
            top_shortfall=self._top.shortfall,
        )
        if self._sketches is not None:
            self._sketches.describe(report)
        elif self._top.counts:
            _describe_counted(self._top.counts, self._delimiter, report)
        return report


class _Sketches:
    """What is known of a column with too many different values to count."""

    def __init__(self, kind: Kind, budget: Budget) -> None:
        self._kind = kind
        self._values = 0
        self._misfits = 0
        self._moments = Moments()
        self._quantiles = QuantileSketch(budget.quantile_sketch)
        self._distinct = DistinctSketch(budget.distinct_sketch)

    def extend(self, values: Sequence[str]) -> None:
        self._values += len(values)
        self._distinct.extend(values)
        if not values or isinstance(self._kind, Words):
            return
        try:
            numbers = self._kind.read(values)
        except ValueError:
            numbers = [number for number in self._kind.read_each(values) if number is not None]
            self._misfit(len(values) - len(numbers))
        if numbers:
            self._moments.extend(numbers)
            self._quantiles.extend(numbers)

    def extend_counted(self, counts: dict[str, int]) -> None:
        self._values += sum(counts.values())
        self._distinct.extend(counts)
        for number, count in zip(self._kind.read_each(list(counts)), counts.values(), strict=True):
            if number is None:
                self._misfit(count)
            else:
                self._moments.add_weighted(number, count)
                self._quantiles.add_weighted(number, count)

    def _misfit(self, count: int) -> None:
        self._misfits += count
        total = self._moments.count + self._misfits
        if total > _PATIENCE and not tolerable(self._misfits, total):
            self._kind = Words()

    def describe(self, report: ColumnReport) -> None:
        report.distinct = min(self._distinct.estimate(), self._values)
        report.distinct_exact = False
        numbers = Distribution(self._quantiles.weighted()) if self._moments.count else None
        _describe_numbers(self._kind, self._misfits, self._moments, numbers, report)
        report.quantiles_exact = False


def _describe_counted(counts: dict[str, int], delimiter: str, report: ColumnReport) -> None:
    kind = choose_kind(list(counts), delimiter)
    read = zip(kind.read_each(list(counts)), counts.values(), strict=True)
    weighted = sorted((number, count) for number, count in read if number is not None)
    moments = Moments()
    for number, count in weighted:
        moments.add_weighted(number, count)
    misfits = sum(counts.values()) - moments.count
    _describe_numbers(kind, misfits, moments, Distribution(weighted) if weighted else None, report)


def _describe_numbers(
    kind: Kind, misfits: int, moments: Moments, numbers: Distribution | None, report: ColumnReport
) -> None:
    if numbers is None or not tolerable(misfits, misfits + moments.count):
        report.type = Words.type
        return
    report.type, report.form, report.misfits = kind.type, kind.form, misfits
    if kind.type == "boolean":
        return
    shown = kind.show
    report.min, report.max = shown(moments.minimum), shown(moments.maximum)
    if moments.mean is not None:
        # The mean of integers is none; of days it is a day.
        report.mean = moments.mean if kind.type == "integer" else shown(moments.mean)
    if kind.type in ("integer", "number"):
        report.deviation = moments.deviation
    p05, p25, p50, p75, p95 = (shown(numbers.quantile(share)) for share in (0.05, 0.25, 0.5, 0.75, 0.95))
    report.quantiles = Quantiles(p05=p05, p25=p25, p50=p50, p75=p75, p95=p95)
    edges, counts = numbers.histogram(_BINS, moments.minimum, moments.maximum)
    # Edges of integers fall between them.
    report.histogram = Histogram(
        edges=[edge if kind.type == "integer" else shown(edge) for edge in edges], counts=counts
    )


def _shortened(value: str) -> str:
    """Keep a long value's beginning for people and its hash, so that different values stay different."""
    if len(value) <= _LONGEST_KEY_CHARS:
        return value
    return f"{value[: _LONGEST_KEY_CHARS - 20]}… ({hash(value) & (1 << 64) - 1:016x})"
