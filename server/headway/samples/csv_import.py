"""`csv-import`: imports a CSV file into an SQLite table. After a restart it resumes after the last stored row."""

from itertools import islice
from typing import Final

from pydantic import BaseModel, Field

from headway import BlockingContext, JobFailed, Upload, job

from .tables.database import ImportDatabase, Position, Rejected, TableColumn, table_columns
from .tables.text import CsvFile, Lines, batches, open_csv, read_header

MAX_COLUMNS: Final = 1_500  # SQLite takes 2,000
_SAMPLE_ROWS: Final = 1_000
_BATCH_ROWS: Final = 10_000
_LOGGED: Final = 5


class CsvImport(BaseModel):
    """A CSV file to import into a database."""

    file: Upload = Field(
        title="CSV file",
        description=(
            "A table of any size, in UTF-8, UTF-16 or Windows-1252. The first line names the columns; their types "
            "(INTEGER, REAL or TEXT) are inferred from the first 1,000 rows."
        ),
        json_schema_extra={"contentMediaType": "text/csv"},
    )


class Imported(BaseModel):
    """How many rows were imported, and how many were rejected."""

    rows: int
    rejected: int


@job("csv-import", title="Import a CSV file", max_attempts=3)
def csv_import(ctx: BlockingContext, input: CsvImport) -> Imported:
    """Imports a CSV file into the table `data` of an SQLite file. Rows that do not fit go to `rejected.csv`."""
    ctx.progress(step="opening")
    source = open_csv(input.file.path, ctx.work_dir)
    ctx.progress(0, max(1, source.size_bytes), unit="bytes", step="importing")
    columns, start = _layout(source)
    with ImportDatabase(ctx.work_dir / "import.sqlite", columns, start) as database:
        if database.position != start:
            ctx.log(f"resumed at row {database.position.rows:,}")
        _copy_rows(ctx, source, database)
        ctx.progress(source.size_bytes, step="writing the files")
        database.publish(ctx.output_dir / "import.sqlite", ctx.output_dir / "rejected.csv")
        position = database.position
    ctx.log(f"{position.rows:,} rows imported, {position.rejected:,} rejected")
    return Imported(rows=position.rows, rejected=position.rejected)


def _layout(source: CsvFile) -> tuple[list[TableColumn], Position]:
    """Return the columns and where their rows begin: the same in each attempt."""
    with source.path.open("rb") as file:
        lines = Lines(file, source)
        header = read_header(lines, source.delimiter)
        if not header:
            raise JobFailed("The file is empty", detail="Its first line must name the columns.")
        if len(header) > MAX_COLUMNS:
            raise JobFailed("Too many columns", detail=f"{len(header):,}; the limit is {MAX_COLUMNS:,}.")
        start = Position(lines.offset, lines.number)
        sample = (row for rows, _ in batches(lines, source.delimiter, max_rows=_SAMPLE_ROWS) for row in rows)
        return table_columns(header, islice(sample, _SAMPLE_ROWS)), start


def _copy_rows(ctx: BlockingContext, source: CsvFile, database: ImportDatabase) -> None:
    with source.path.open("rb") as file:
        start = database.position
        lines = Lines(file, source, start.offset, start.lines)
        for rows, numbers in batches(lines, source.delimiter, max_rows=_BATCH_ROWS):
            ctx.raise_if_cancelled()
            logged = database.position.rejected
            rejected = database.add(zip(numbers, rows, strict=True), lines.offset, lines.number)
            _log_rejected(ctx, rejected[: max(0, _LOGGED - logged)])
            ctx.progress(lines.offset, message=f"{database.position.rows:,} rows")


def _log_rejected(ctx: BlockingContext, rejected: list[Rejected]) -> None:
    for entry in rejected:
        ctx.log(f"line {entry.line:,} rejected: {entry.reason}", level="warning")
