"""`headway` itself: the names that authors and embedding programs import, and what importing them loads."""

import ast
import subprocess
import sys
from pathlib import Path

import headway
import pytest

FOR_AUTHORS = (
    "from headway import BlockingContext, Context, Depends, JobCancelled, JobFailed, ResourceContext, Upload, job"
)
HEAVY = ("aiohttp", "aiosqlite", "sqlite3", "asyncio", "pydantic_settings", "structlog", "typer", "uvloop")
SOURCE = ast.parse(Path(str(headway.__file__)).read_text("utf-8"))


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    program = f"import sys; sys.path[:] = {sys.path!r}; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_headway_loads_next_to_nothing() -> None:
    loaded = loaded_by("import headway")
    assert not loaded & {*HEAVY, "pydantic"}
    assert [name for name in loaded if name.startswith("headway.")] == []


def test_what_authors_import_loads_no_server() -> None:
    loaded = loaded_by(FOR_AUTHORS)
    assert "pydantic" in loaded
    assert not loaded & set(HEAVY)


def test_a_child_process_loads_no_server() -> None:
    assert not loaded_by("import headway.running.processes.child.main") & {*HEAVY, "logging.config"}


def test_importing_the_servers_name_loads_the_server() -> None:
    assert {"aiohttp", "aiosqlite"} <= loaded_by("from headway import Headway")


@pytest.mark.parametrize("name", headway.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(headway, name).__name__ == name
    assert name in dir(headway)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'anything_else'"):
        headway.anything_else  # noqa: B018


def test_type_checkers_see_the_same_names_in_the_same_places() -> None:
    checked = {
        alias.asname or alias.name: f".{statement.module}"
        for block in ast.walk(SOURCE)
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert checked == headway._HOMES
    assert sorted(headway.__all__) == sorted(checked)
