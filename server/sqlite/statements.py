"""The SQL, one statement a file in `queries/`, by the file's name."""

from pathlib import Path

from .rows import COLUMNS

_FOLDER = Path(__file__).parent / "queries"

SQL: dict[str, str] = {
    file.stem: file.read_text("utf-8").replace("{columns}", COLUMNS) for file in sorted(_FOLDER.glob("*.sql"))
}
