"""The findings of a CSV report: the result of `csv-report`, which its page shows."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .kinds import Shown


class Finding(BaseModel):
    """A part of the result, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class TopValue(Finding):
    """A value and how often it occurs."""

    value: str
    count: int


class Format(Finding):
    """A format of values: letters are `A` or `a`, digits `9`, and `+` stands for more of the same."""

    format: str
    count: int
    example: str


class Quantiles(Finding):
    """The values that 5, 25, 50, 75 and 95 % of all values do not exceed."""

    p05: Shown
    p25: Shown
    p50: Shown
    p75: Shown
    p95: Shown


class Histogram(Finding):
    """How many values are between each two edges; exact."""

    edges: list[Shown] = Field(description="One more than counts. The outer bars include the outliers.")
    counts: list[int]


class ColumnReport(Finding):
    """The findings for one column."""

    name: str
    type: str = Field(description="integer, number, boolean, date, datetime, text or empty")
    form: str | None = Field(default=None, description="Format of dates that are not ISO 8601")
    missing: int
    misfits: int = Field(default=0, description="Values that do not fit the type, at most one in 100")
    misfit_examples: list[str] = []
    distinct: int = Field(description="Distinct values as written")
    distinct_exact: bool
    distinct_folded: int | None = Field(
        default=None, description="For text: distinct values ignoring case and surrounding blanks"
    )
    shortest: int = Field(default=0, description="Characters in the shortest value")
    longest: int = Field(default=0, description="Characters in the longest value")
    mean_length: float | None = Field(default=None, description="Mean number of characters in a value")
    padded: int = Field(default=0, description="Values that begin or end with a blank")
    min: Shown | None = None
    max: Shown | None = None
    mean: Shown | None = None
    negative: int = Field(default=0, description="Numbers below zero")
    zeros: int = 0
    order: str | None = Field(default=None, description="ascending or descending, if numbers or dates are sorted")
    deviation: float | None = Field(default=None, description="Sample standard deviation")
    skewness: float | None = Field(default=None, description="Above 0 for a long tail to the right")
    quantiles: Quantiles | None = None
    quantiles_exact: bool = True
    histogram: Histogram | None = None
    top: list[TopValue] = Field(default=[], description="Most frequent values, at most ten, with exact counts")
    top_exact: bool = Field(default=True, description="If false, other values as frequent as `topRest` may exist")
    top_rest: int = Field(default=0, description="No value outside `top` occurs more often than this")
    formats: list[Format] = Field(default=[], description="Formats of values, most frequent first")
    formats_exact: bool = Field(default=True, description="If false, a format may be more frequent than stated")


class Correlation(Finding):
    """How closely two columns are correlated, from -1 to 1."""

    columns: tuple[str, str]
    pearson: float = Field(description="r: how linear the relation is")
    spearman: float | None = Field(default=None, description="rho, the same for ranks: how monotonic the relation is")
    rows: int = Field(description="Rows in which both columns have a value")


class Repeated(Finding):
    """A row that occurs more than once."""

    cells: list[str] = Field(description="The first 30")
    count: int
    lines: list[int] = Field(description="The first five lines on which it begins; the header is on line 1")


class Duplicates(Finding):
    """Rows that repeat an earlier one."""

    rows: int
    exact: bool
    examples: list[Repeated]
    key: str | None = Field(default=None, description="The key column, which was not compared")


class Report(Finding):
    """The findings for a CSV file."""

    filename: str
    size_bytes: int
    rows: int
    duplicates: Duplicates = Field(description="Rows that repeat an earlier one, cell by cell")
    near_duplicates: Duplicates | None = Field(
        default=None,
        description="The same without the first column, if it is different in each row, and ignoring case and "
        "surrounding blanks",
    )
    ragged_rows: int = Field(description="Rows with more or fewer cells than the header")
    columns: list[ColumnReport]
    correlations: list[Correlation] = Field(description="Between numbers and dates, at most the first ten such columns")
    delimiter: str
    encoding: str
    repaired_lines: int = Field(description="Lines that were not UTF-8 and were read as Windows-1252")
    quantile_rank_error: float = Field(description="Error of estimated quantiles, at 99 % confidence")
    distinct_relative_error: float = Field(description="Error of estimated counts, one standard error")
