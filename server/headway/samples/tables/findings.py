"""What a CSV report says: the result of `csv-report`, and what its page shows."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .kinds import Shown


class Wire(BaseModel):
    """What stands in the result, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class TopValue(Wire):
    """A value and how often it occurs."""

    value: str
    count: int


class Format(Wire):
    """A shape of values: letters are `A` or `a`, digits `9`, and `+` stands for more of the same."""

    format: str
    count: int
    example: str


class Quantiles(Wire):
    """The values that 5, 25, 50, 75 and 95 % of all do not exceed."""

    p05: Shown
    p25: Shown
    p50: Shown
    p75: Shown
    p95: Shown


class Histogram(Wire):
    """How many values lie between two edges; exact."""

    edges: list[Shown] = Field(description="One more than counts. The outer bars take in the outliers.")
    counts: list[int]


class ColumnReport(Wire):
    """What was found in one column."""

    name: str
    type: str = Field(description="integer, number, boolean, date, datetime, text or empty")
    form: str | None = Field(default=None, description="How dates that are not ISO 8601 are written")
    missing: int
    misfits: int = Field(default=0, description="Values that the type does not fit, at most one in 100")
    misfit_examples: list[str] = []
    distinct: int = Field(description="Different values as they are written")
    distinct_exact: bool
    distinct_folded: int | None = Field(
        default=None, description="Of texts: if neither case nor blanks at the ends made a difference"
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
    order: str | None = Field(default=None, description="ascending or descending, if numbers or dates are")
    deviation: float | None = Field(default=None, description="Sample standard deviation")
    skewness: float | None = Field(default=None, description="Above 0 for a long tail to the right")
    quantiles: Quantiles | None = None
    quantiles_exact: bool = True
    histogram: Histogram | None = None
    top: list[TopValue] = Field(default=[], description="Most frequent values, at most ten, with exact counts")
    top_exact: bool = Field(default=True, description="If not, others as frequent as `topRest` may come next")
    top_rest: int = Field(default=0, description="No value outside `top` occurs more often than this")
    formats: list[Format] = Field(default=[], description="How values are written, most frequent first")
    formats_exact: bool = Field(default=True, description="If not, a format may be more frequent than stated")


class Correlation(Wire):
    """How closely two columns move together, from -1 to 1."""

    columns: tuple[str, str]
    pearson: float = Field(description="r: how close they are to a straight line")
    spearman: float | None = Field(
        default=None, description="rho, the same of ranks: whether one rises with the other, in whatever way"
    )
    rows: int = Field(description="In which both columns have a value")


class Repeated(Wire):
    """A row that comes more than once."""

    cells: list[str] = Field(description="The first 30")
    count: int
    lines: list[int] = Field(description="The first five on which it begins; the header's is 1")


class Duplicates(Wire):
    """Rows that repeat an earlier one."""

    rows: int
    exact: bool
    examples: list[Repeated]
    key: str | None = Field(default=None, description="The column that numbers the rows and was not compared")


class Report(Wire):
    """What was found in a CSV file."""

    filename: str
    size_bytes: int
    rows: int
    duplicates: Duplicates = Field(description="Rows that repeat an earlier one, cell by cell")
    near_duplicates: Duplicates | None = Field(
        default=None,
        description="The same without the first column, if that is different in each row, and without regard to case "
        "and blanks at the ends of cells",
    )
    ragged_rows: int = Field(description="Rows with more or fewer cells than the header")
    columns: list[ColumnReport]
    correlations: list[Correlation] = Field(description="Of numbers and dates, the ten first such columns at most")
    delimiter: str
    encoding: str
    repaired_lines: int = Field(description="Lines that were not UTF-8 and were read as Windows-1252")
    quantile_rank_error: float = Field(description="Of quantiles that are not exact, at 99 % confidence")
    distinct_relative_error: float = Field(description="Of counts that are not exact, one standard error")
