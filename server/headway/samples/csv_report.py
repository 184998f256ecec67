"""`csv-report`: profiles a CSV file of any size, column by column, as JSON and as a page with charts.

The file is read twice. The first pass determines what the columns are, and estimates where a column has too many
distinct values to count them all. The second pass makes most of these estimates exact.
"""

from collections.abc import Callable
from typing import Final

from pydantic import BaseModel, Field

from headway import BlockingContext, JobFailed, Upload, job

from .tables.findings import Report
from .tables.page import write_page
from .tables.profile import Profile
from .tables.text import CsvFile, Lines, batches, open_csv, read_header

MAX_COLUMNS: Final = 10_000
_BATCH_CELLS: Final = 64_000


class CsvReport(BaseModel):
    """A CSV file to profile, for instance an undocumented export."""

    file: Upload = Field(
        title="CSV file",
        description=(
            "A table of any size. The first line names the columns. The delimiter (comma, semicolon, tab or "
            "vertical bar) and the encoding (UTF-8, UTF-16 or Windows-1252) are detected."
        ),
        json_schema_extra={"contentMediaType": "text/csv"},
    )


@job("csv-report", title="Report on a CSV file")
def csv_report(ctx: BlockingContext, input: CsvReport) -> Report:
    """Profiles a CSV file: types, missing values, formats, duplicates, quantiles and charts, as JSON and as a page."""
    ctx.progress(step="opening")
    source = open_csv(input.file.path, ctx.work_dir)
    ctx.progress(0, max(1, source.size_bytes), percent=0, unit="bytes", step="reading, 1 of 2")
    profile, repaired = _read(ctx, source)
    to_count = profile.turn()
    ctx.log(f"{profile.rows:,} rows read; {to_count:,} columns have too many distinct values to count in one pass")
    ctx.progress(0, percent=50, step="counting, 2 of 2", message="0 rows")
    _count(ctx, source, profile)
    ctx.progress(message=f"{profile.rows:,} rows", step="writing the report")
    duplicates = profile.duplicates()
    report = Report(
        filename=input.file.filename,
        size_bytes=input.file.size_bytes,
        rows=profile.rows,
        duplicates=duplicates,
        near_duplicates=profile.near_duplicates(),
        ragged_rows=profile.ragged,
        columns=profile.columns(),
        correlations=profile.correlations(),
        delimiter=source.delimiter,
        encoding=source.encoding,
        repaired_lines=repaired,
        quantile_rank_error=profile.budget.quantile_rank_error,
        distinct_relative_error=profile.budget.distinct_relative_error,
    )
    write_page(report, ctx.output_dir / "report.html")
    ctx.log(f"{'' if duplicates.exact else 'about '}{duplicates.rows:,} duplicate and {profile.ragged:,} ragged rows")
    return report


def _read(ctx: BlockingContext, source: CsvFile) -> tuple[Profile, int]:
    """Make the first pass; return its profile and how many lines had to be repaired."""
    with source.path.open("rb") as file:
        lines = Lines(file, source)
        header = read_header(lines, source.delimiter)
        if len(header) > MAX_COLUMNS:
            raise JobFailed("Too many columns", detail=f"{len(header):,}; the limit is {MAX_COLUMNS:,}.")
        profile = Profile(header, source.delimiter)
        _each_batch(ctx, source, lines, len(header), profile.add, percent=0)
        return profile, lines.repaired


def _count(ctx: BlockingContext, source: CsvFile, profile: Profile) -> None:
    """Make the second pass."""
    with source.path.open("rb") as file:
        lines = Lines(file, source)
        header = read_header(lines, source.delimiter)
        _each_batch(ctx, source, lines, len(header), profile.count, percent=50)


def _each_batch(
    ctx: BlockingContext,
    source: CsvFile,
    lines: Lines,
    width: int,
    take: Callable[[list[list[str]], list[int]], None],
    *,
    percent: int,
) -> None:
    """Pass on the rows of each batch and report progress, over the half of the bar that begins at `percent`."""
    count = 0
    for rows, numbers in batches(lines, source.delimiter, max_rows=max(1, _BATCH_CELLS // max(1, width))):
        ctx.raise_if_cancelled()
        take(rows, numbers)
        count += len(rows)
        share = lines.offset / source.size_bytes
        ctx.progress(lines.offset, percent=percent + 50 * share, message=f"{count:,} rows")
