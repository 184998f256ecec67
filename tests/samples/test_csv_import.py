"""The CSV import: cells are converted, and every row is imported once, wherever an attempt ends."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from headway import BlockingContext, JobCancelled, JobFailed, Upload
from headway.samples import csv_import as importing
from headway.samples.csv_import import CsvImport, Imported, csv_import
from headway.samples.tables.database import table_columns
from hypothesis import given
from hypothesis import strategies as st

MakeUpload = Callable[[bytes | str], Upload]
MakeAttempt = Callable[[int], BlockingContext]


def run(context: BlockingContext, file: Upload) -> Imported:
    return csv_import(context, CsvImport(file=file))


def table(context: BlockingContext) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(context.output_dir / "import.sqlite")) as database:
        return database.execute("SELECT * FROM data").fetchall()


def rejected(context: BlockingContext) -> list[list[str]]:
    with (context.output_dir / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def test_cells_are_converted_to_the_type_of_their_column(context: BlockingContext, upload: MakeUpload) -> None:
    result = run(context, upload("id,price,code,note\n1,2.5,007,a\n-2,,010,\n"))
    assert result == Imported(rows=2, rejected=0)
    assert table(context) == [(1, 2.5, "007", "a"), (-2, None, "010", "")]


def test_rows_that_do_not_fit_are_rejected_with_line_and_reason(
    context: BlockingContext, upload: MakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_SAMPLE_ROWS", 2)
    rows = '1,a\n2,"b\nb"\nthree,c\n4\n5,e,f\n99999999999999999999,g\n08,h\n6,i\n'
    result = run(context, upload("id,note\n" + rows))
    assert result == Imported(rows=3, rejected=5)
    assert table(context) == [(1, "a"), (2, "b\nb"), (6, "i")]
    assert rejected(context) == [
        ["5", 'id: "three" is not an integer', "three", "c"],
        ["6", "1 fields instead of 2", "4"],
        ["7", "3 fields instead of 2", "5", "e", "f"],
        ["8", 'id: "99999999999999999999" is not an integer', "99999999999999999999", "g"],
        ["9", 'id: "08" is not an integer', "08", "h"],
    ]


def test_only_the_first_rejections_are_logged(context: BlockingContext, upload: MakeUpload) -> None:
    run(context, upload("id,note\n1,a\n" + "1\n" * 50))
    messages = [line.message for line in context._logs.take()]
    assert messages[0] == "line 3 rejected: 1 fields instead of 2"
    assert len(messages) == 6
    assert messages[-1] == "1 rows imported, 50 rejected"


def test_the_published_file_contains_only_the_data(context: BlockingContext, upload: MakeUpload) -> None:
    run(context, upload("id\n1\n2,3\n"))
    with closing(sqlite3.connect(context.output_dir / "import.sqlite")) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("data",)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert sorted(path.name for path in context.output_dir.iterdir()) == ["import.sqlite", "rejected.csv"]


def test_column_names_are_cleaned_and_unique_regardless_of_case() -> None:
    header = ["Id", "id", "", "net / gross", '"; DROP TABLE data', "Größe", "id_2"]
    names = [column.name for column in table_columns(header, [])]
    assert names == ["Id", "id_2", "column_3", "net_gross", "DROP_TABLE_data", "Größe", "id_2_2"]


@pytest.mark.parametrize(
    ("cells", "type_"),
    [
        (["1", "", "-2"], "INTEGER"),
        (["1", "2.0"], "REAL"),
        (["1e3", ".5", "5."], "REAL"),
        (["1", "01"], "TEXT"),
        (["9223372036854775807"], "INTEGER"),
        (["9223372036854775808"], "TEXT"),
        (["1e999"], "TEXT"),
        (["nan"], "TEXT"),
        (["1_0"], "TEXT"),
        (["", ""], "TEXT"),
    ],
)
def test_a_columns_type_comes_from_its_first_cells(cells: list[str], type_: str) -> None:
    (column,) = table_columns(["it"], [[cell] for cell in cells])
    assert column.type == type_


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_by_python_is_recognised(number: float) -> None:
    (column,) = table_columns(["it"], [[str(number)]])
    assert column.type == ("INTEGER" if isinstance(number, int) else "REAL")


def test_an_empty_file_cannot_be_imported(context: BlockingContext, upload: MakeUpload) -> None:
    with pytest.raises(JobFailed, match="The file is empty"):
        run(context, upload(""))


def test_a_file_with_only_a_header_becomes_an_empty_table(context: BlockingContext, upload: MakeUpload) -> None:
    assert run(context, upload("a,b\n")) == Imported(rows=0, rejected=0)
    assert table(context) == []


def test_a_cancelled_import_keeps_the_rows_imported_so_far(
    attempt: MakeAttempt, upload: MakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BATCH_ROWS", 10)
    file = upload("id\n" + "".join(f"{number}\n" for number in range(100)))
    first = attempt(1)
    log_rejected = importing._log_rejected

    def cancel(*arguments: Any) -> None:
        log_rejected(*arguments)
        first._cancelled = True

    monkeypatch.setattr(importing, "_log_rejected", cancel)
    with pytest.raises(JobCancelled):
        run(first, file)
    second = attempt(2)
    assert run(second, file) == Imported(rows=100, rejected=0)
    assert second._logs.take()[0].message == "resumed at row 10"
    assert table(second) == [(number,) for number in range(100)]


# --- Crashes. The file has multi-line records, rejects and, in one case, two bytes per character.

ROWS = "".join(f'{number},"a\n{number} é"\n' + ("bad\n" if number % 3 == 0 else "") for number in range(12))
EXPECTED = [(number, f"a\n{number} é") for number in range(12)]


class Crash(BaseException):
    """The process ends here."""


class Fuse:
    """Fails before or after the n-th statement; from then on no statement reaches the database."""

    def __init__(self, statements: int, *, after: bool) -> None:
        self.left = statements
        self.after = after

    def connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        fuse = self

        class Connection(sqlite3.Connection):
            def execute(self, *arguments: Any) -> sqlite3.Cursor:
                return fuse.burn(super().execute, *arguments)

            def executemany(self, *arguments: Any) -> sqlite3.Cursor:
                return fuse.burn(super().executemany, *arguments)

        return Connection(path, **options)

    def burn(self, statement: Callable[..., sqlite3.Cursor], *arguments: Any) -> sqlite3.Cursor:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.after):
            raise Crash
        cursor = statement(*arguments)
        if self.left == 0:
            raise Crash
        return cursor


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("after", [False, True])
def test_every_row_is_imported_once_wherever_an_attempt_ends(
    after: bool, encoding: str, attempt: MakeAttempt, upload: MakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BATCH_ROWS", 3)
    file = upload(("id,note\n" + ROWS).encode(encoding))
    for number in count(1):
        # Every attempt fails one statement later than the one before, until one succeeds.
        monkeypatch.setattr(sqlite3, "connect", Fuse(number, after=after).connect)
        context = attempt(number)
        if not crashes(context, file):
            break
    monkeypatch.undo()
    assert number > 10
    assert table(context) == EXPECTED
    assert [fields[2:] for fields in rejected(context)] == [["bad"]] * 4


@pytest.mark.parametrize("after", [False, True])
def test_a_restart_at_any_statement_gives_the_result_of_an_uninterrupted_run(
    after: bool, tmp_path: Path, attempt: MakeAttempt, upload: MakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BATCH_ROWS", 4)
    file = upload("id,note\n" + ROWS)
    real_connect = sqlite3.connect
    for statements in range(1, 200):
        for path in (tmp_path / "job" / "work").glob("*"):
            path.unlink()
        monkeypatch.setattr(sqlite3, "connect", Fuse(statements, after=after).connect)
        first, second = attempt(2 * statements), attempt(2 * statements + 1)
        if not crashes(first, file):
            assert statements > 20
            return
        monkeypatch.setattr(sqlite3, "connect", real_connect)
        assert run(second, file) == Imported(rows=12, rejected=4)
        assert table(second) == EXPECTED
        assert len(rejected(second)) == 4
    pytest.fail("an undisturbed run has fewer statements")


def crashes(context: BlockingContext, file: Upload) -> bool:
    """Run one attempt. Afterwards nothing holds its connection open, as if the process were gone."""
    try:
        run(context, file)
    except Crash:
        return True
    return False


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from headway.samples import csv_import
from headway.samples.tables import database, text

work, file, statements = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

class Connection(sqlite3.Connection):
    left = statements
    def _count(self):
        Connection.left -= 1
        if Connection.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def execute(self, *arguments):
        self._count()
        return super().execute(*arguments)
    def executemany(self, *arguments):
        self._count()
        return super().executemany(*arguments)

sqlite3.connect = lambda path, **options: Connection(path, **options)
source = text.open_csv(file, work)
columns, start = csv_import._layout(source)
with database.ImportDatabase(work / "import.sqlite", columns, start) as imported:
    with source.path.open("rb") as lines_of:
        lines = text.Lines(lines_of, source, imported.position.offset)
        for rows, numbers in text.batches(lines, ",", max_rows=500):
            imported.add(zip(numbers, rows), lines.offset, 0)
"""


@pytest.mark.parametrize("statements", [3, 9, 10, 11, 12, 13])
def test_an_import_resumes_from_the_file_of_a_killed_process(
    statements: int, attempt: MakeAttempt, upload: MakeUpload
) -> None:
    file = upload("id,note\n" + "".join(f"{number},{'x' * 100}\n" for number in range(3_000)))
    context = attempt(1)
    command = [sys.executable, "-c", KILLED, str(context.work_dir), str(file.path), str(statements)]
    killed = subprocess.run(command, check=False, cwd=Path(__file__).parents[2], env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    assert run(context, file) == Imported(rows=3_000, rejected=0)
    assert [row[0] for row in table(context)] == list(range(3_000))
