"""A column of a CSV file whose kind is settled: counted in the first pass, or recounted in the second."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from .distribution import Distribution, Moments, Refinement
from .findings import ColumnReport, Format, Histogram, Quantiles, TopValue
from .formats import Formats, folded
from .kinds import Kind, Words, choose_kind, tolerable
from .sketches import DistinctSketch, TopValues

_TOP: Final = 10
_FORMATS: Final = 10
_BINS: Final = 24
_SHARES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_EXAMPLES: Final = 3
# A rank is off by more than the sketch's error once in 100 cases, and by more than 1.5 times as much once in 10,000.
_MARGIN: Final = 1.5


class Counted:
    """A column whose distinct values have all been counted in the first pass."""

    def __init__(self, counts: Counter[str], delimiter: str) -> None:
        self.kind = choose_kind(list(counts), delimiter)
        self.distinct = len(counts)
        self.distinct_error = 0.0
        self.moments = Moments()
        self._counts = counts
        self._numbers = dict(zip(counts, self.kind.read_each(list(counts)), strict=True))
        read = ((number, counts[value]) for value, number in self._numbers.items() if number is not None)
        self._weighted = sorted(read)
        self.rough = Distribution(self._weighted) if self._weighted else None
        """The distribution of the numbers, if there are any. Here it is exact."""
        for number, count in self._weighted:
            self.moments.add_weighted(number, count)
        self._misfits = sum(counts.values()) - self.moments.count
        if not tolerable(self._misfits, self._misfits + self.moments.count):
            self.kind = Words()

    @property
    def measured(self) -> bool:
        """Whether the values are numbers or dates."""
        return _is_measured(self.kind)

    def extend(self, values: Sequence[str]) -> list[float | None]:
        """Read values again; there is nothing left to count."""
        return list(map(self._numbers.get, values))

    def describe(self, report: ColumnReport) -> None:
        """Add the findings to the report."""
        report.type, report.form = self.kind.type, self.kind.form
        report.distinct = self.distinct
        _describe_top(self._counts, sum(self._counts.values()), 0, report)
        formats = Formats(len(self._counts))
        formats.extend_counted(self._counts)
        _describe_formats(formats, report)
        if isinstance(self.kind, Words):
            report.distinct_folded = len(set(map(folded, self._counts)))
            return
        _describe_misfits(self._misfits, (value for value, n in self._numbers.items() if n is None), report)
        if self.measured and (numbers := self.rough) is not None:
            quantiles = [numbers.quantile(share) for share in _SHARES]
            histogram = numbers.histogram(_BINS, self.moments.minimum, self.moments.maximum)
            report.negative = sum(count for number, count in self._weighted if number < 0)
            report.zeros = sum(count for number, count in self._weighted if number == 0)
            _describe_numbers(self.kind, self.moments, quantiles, histogram, report)


@dataclass(frozen=True, slots=True)
class Sketched:
    """What the first pass learned about a column with too many distinct values to count."""

    kind: Kind
    moments: Moments
    rough: Distribution | None
    """The distribution of the numbers, if there are any, within `rank_error`."""
    rank_error: float
    window: int
    """How many numbers may be kept to determine exact quantiles."""
    distinct: int
    distinct_exact: bool
    distinct_error: float
    """How far `distinct` may be off, as a share of it: three standard errors."""
    top: TopValues
    folded: int
    """How many case-folded distinct values may be remembered."""


class Recounted:
    """A column in the second pass, which counts what the first pass only estimated."""

    def __init__(self, found: Sketched, countable: int, formats: int) -> None:
        """Count all distinct values if there are at most `countable`; keep about that many `formats`."""
        self.kind = found.kind
        self.distinct = found.distinct
        self.distinct_error = found.distinct_error
        self.moments = found.moments
        self.rough = found.rough
        self._found = found
        self._whole = found.distinct_exact and found.distinct <= countable
        self._counts: Counter[str] = Counter()
        # No other value was frequent enough.
        self._candidates = frozenset(() if self._whole else found.top.counts)
        self._formats = Formats(formats)
        self._values = 0
        self._folded = DistinctSketch(found.folded)
        self._misfits = 0
        self._odd: list[str] = []
        self._edges: list[float] = []
        self._refined: Refinement | None = None
        if found.rough is not None:
            self._edges, _ = found.rough.histogram(_BINS, found.moments.minimum, found.moments.maximum)
            margin = _MARGIN * found.rank_error
            self._refined = Refinement(found.rough, found.moments, _SHARES, margin, self._edges)

    @property
    def measured(self) -> bool:
        """Whether the values are numbers or dates."""
        return _is_measured(self.kind)

    def extend(self, values: Sequence[str]) -> list[float | None]:
        """Count values again; return them as numbers if the column has any."""
        self._values += len(values)
        self._counts.update(values if self._whole else filter(self._candidates.__contains__, values))
        self._formats.extend(values)
        if self._refined is None:
            self._folded.extend(map(folded, values))
            return []
        try:
            numbers = self.kind.read(values)
        except ValueError:
            read = self.kind.read_each(values)
            self._refined.extend([number for number in read if number is not None], self._found.window)
            self._misfits += read.count(None)
            if len(self._odd) < _EXAMPLES:
                self._odd += [value for value, number in zip(values, read, strict=True) if number is None]
            return read
        self._refined.extend(numbers, self._found.window)
        return [*numbers]

    def describe(self, report: ColumnReport) -> None:
        """Add the findings to the report."""
        found = self._found
        report.type, report.form = self.kind.type, self.kind.form
        report.distinct, report.distinct_exact = found.distinct, found.distinct_exact
        _describe_top(self._counts, self._values, 0 if self._whole else found.top.shortfall, report)
        _describe_formats(self._formats, report)
        if found.rough is None or self._refined is None:
            report.distinct_folded = min(self._folded.estimate(), report.distinct)
            return
        report.negative, report.zeros = self._refined.negative, self._refined.zeros
        _describe_misfits(self._misfits, self._odd, report)
        exact = self._refined.quantiles()
        report.quantiles_exact = exact is not None
        quantiles = exact or [found.rough.quantile(share) for share in _SHARES]
        _describe_numbers(self.kind, self.moments, quantiles, (self._edges, self._refined.bins), report)


def fitting(kind: Kind, values: Sequence[str]) -> list[float]:
    """Return the values that can be read as numbers."""
    try:
        return kind.read(values)
    except ValueError:
        return [number for number in kind.read_each(values) if number is not None]


def _is_measured(kind: Kind) -> bool:
    return not isinstance(kind, Words) and kind.type != "boolean"


def _describe_top(counts: Counter[str], values: int, shortfall: int, report: ColumnReport) -> None:
    """List the most frequent of all `values`: only those that occur more often than `shortfall`, the uncertainty."""
    ranked = counts.most_common(_TOP + 1)
    sure = [TopValue(value=value, count=count) for value, count in ranked[:_TOP] if count > shortfall]
    following = ranked[len(sure)][1] if len(sure) < len(ranked) else 0
    report.top = sure
    report.top_rest = max(shortfall, following)
    if report.distinct_exact:
        report.top_rest = min(report.top_rest, values - report.distinct + 1)
    report.top_exact = shortfall == 0 or len(sure) == _TOP


def _describe_formats(formats: Formats, report: ColumnReport) -> None:
    report.formats_exact = formats.exact
    report.formats = [
        Format(format=format, count=count, example=example) for format, count, example in formats.most_common(_FORMATS)
    ]


def _describe_numbers(
    kind: Kind,
    moments: Moments,
    quantiles: Sequence[float],
    histogram: tuple[Sequence[float], list[int]],
    report: ColumnReport,
) -> None:
    shown = kind.show
    report.min, report.max = shown(moments.minimum), shown(moments.maximum)
    if moments.mean is not None:
        # The mean of integers need not be one; the mean of days is shown as a day.
        report.mean = moments.mean if kind.type == "integer" else shown(moments.mean)
    if kind.type in ("integer", "number"):
        report.deviation = moments.deviation
    p05, p25, p50, p75, p95 = map(shown, quantiles)
    report.quantiles = Quantiles(p05=p05, p25=p25, p50=p50, p75=p75, p95=p95)
    edges, counts = histogram
    # The edges of integers need not be integers.
    report.histogram = Histogram(
        edges=[edge if kind.type == "integer" else shown(edge) for edge in edges], counts=counts
    )


def _describe_misfits(misfits: int, odd: Iterable[str], report: ColumnReport) -> None:
    report.misfits = misfits
    report.misfit_examples = [*islice(dict.fromkeys(odd), _EXAMPLES)]
