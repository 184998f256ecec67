"""The SQL, one statement a file in `queries/`, by the file's name."""

from pathlib import Path

from .rows import COLUMNS

_FOLDER = Path(__file__).parent / "queries"

SQL: dict[str, str] = {
    file.stem: file.read_text("utf-8").replace("{columns}", COLUMNS) for file in sorted(_FOLDER.glob("*.sql"))
}

ROWS_AT_ONCE = (64, 16, 4, 1)
"""How many jobs one statement inserts, in the order in which the sizes are tried."""

_INTO, _VALUES, _ROW = SQL["insert"].partition("VALUES ")
INSERT: dict[int, str] = {size: _INTO + _VALUES + ", ".join([_ROW] * size) for size in ROWS_AT_ONCE}
