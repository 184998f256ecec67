"""`csv-report`: what is in a CSV file of any size, column by column, as JSON and as a page with charts."""

from typing import Final

from pydantic import BaseModel, Field

from .. import BlockingContext, JobFailed, Upload, job
from .csv_page import write_page
from .csv_profile import ColumnReport, Profile, Wire
from .csv_text import CsvFile, Lines, batches, open_csv, read_header

MAX_COLUMNS: Final = 10_000
_BATCH_CELLS: Final = 64_000


class CsvReport(BaseModel):
    """A CSV file."""

    file: Upload = Field(
        title="CSV file",
        description="Any size; its encoding and delimiter are found out. The first line names the columns.",
        json_schema_extra={"contentMediaType": "text/csv"},
    )


class Report(Wire):
    """What was found in a CSV file."""

    filename: str
    size_bytes: int
    rows: int
    columns: list[ColumnReport]
    delimiter: str
    encoding: str
    repaired_lines: int = Field(description="Lines that were not UTF-8 and were read as Windows-1252")
    ragged_rows: int = Field(description="Rows with more or fewer cells than the header")
    quantile_rank_error: float = Field(description="Of quantiles that are not exact, at 99 % confidence")
    distinct_relative_error: float = Field(description="Of counts that are not exact, one standard error")


@job("csv-report", title="Report on a CSV file")
def csv_report(ctx: BlockingContext, input: CsvReport) -> Report:
    """Types, missing and distinct values, quantiles and charts for every column of a CSV file of any size."""
    ctx.progress(step="opening")
    source = open_csv(input.file.path, ctx.work_dir)
    ctx.progress(0, max(1, source.size_bytes), unit="bytes", step="reading")
    with source.path.open("rb") as file:
        lines = Lines(file, source)
        profile = _profile(ctx, source, lines)
    ctx.progress(message=f"{profile.rows:,} rows", step="writing the report")
    report = Report(
        filename=input.file.filename,
        size_bytes=input.file.size_bytes,
        rows=profile.rows,
        columns=profile.columns(),
        delimiter=source.delimiter,
        encoding=source.encoding,
        repaired_lines=lines.repaired,
        ragged_rows=profile.ragged,
        quantile_rank_error=profile.budget.quantile_rank_error,
        distinct_relative_error=profile.budget.distinct_relative_error,
    )
    write_page(report, ctx.output_dir / "report.html")
    ctx.log(f"{report.rows:,} rows, {len(report.columns):,} columns, {report.ragged_rows:,} ragged rows")
    return report


def _profile(ctx: BlockingContext, source: CsvFile, lines: Lines) -> Profile:
    header = read_header(lines, source.delimiter)
    if len(header) > MAX_COLUMNS:
        raise JobFailed("Too many columns", detail=f"{len(header):,}; the limit is {MAX_COLUMNS:,}.")
    profile = Profile(header, source.delimiter)
    max_rows = max(1, _BATCH_CELLS // max(1, len(header)))
    for rows, _ in batches(lines, source.delimiter, max_rows=max_rows):
        ctx.raise_if_cancelled()
        profile.add(rows)
        ctx.progress(lines.offset, message=f"{profile.rows:,} rows")
    return profile
