"""The structure holds: walls, text that is repeated in two places, what the README promises."""

import ast
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from headway.backends.sqlite.rows import COLUMN_COUNT, COLUMNS
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, JobError, NewJob, OutputFile
from headway.links import Links
from headway.representation import JobView, job_fields

from tests.support.process import ROOT

MODULES = sorted(path for path in (ROOT / "server").rglob("*.py"))
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_in_its_first_line_which_room_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] != "headway" or "samples" in path.parts
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "headway" for alias in node.names)


WITHOUT_A_WEB_SERVER = [
    path
    for path in MODULES
    if path.parts[-3:-1] == ("headway", "webhooks") or path.stem in ("access", "addresses", "urls")
]
"""What import-linter cannot say: it knows `aiohttp` only as a whole."""


@pytest.mark.parametrize("path", WITHOUT_A_WEB_SERVER, ids=lambda path: path.name)
def test_what_goes_out_knows_aiohttps_client_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "aiohttp" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.module != "aiohttp.web"
            assert node.module != "aiohttp" or not any(alias.name == "web" for alias in node.names)


def test_the_representation_has_exactly_the_documented_fields() -> None:
    job_id, at = JobIds().new(datetime.now(UTC))
    new = NewJob(id=job_id, owner="local", type="t", input_json="{}", created_at=at, run_at=at, retain_s=1)
    fields = job_fields(Job.queued(new), None, Links(""))
    assert list(fields) == [info.alias for info in JobView.model_fields.values()]
    JobView.model_validate(fields)


def test_the_columns_are_counted_right() -> None:
    assert len(COLUMNS.split(", ")) == COLUMN_COUNT
    assert OutputFile.__slots__ == ("name", "size_bytes", "content_type")
    assert JobError.__slots__ == ("type", "title", "detail", "status")


def test_ci_runs_the_readmes_test_command_word_for_word() -> None:
    (command,) = re.findall(r"^\$ (.* -m pytest.*)$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_lock_names_a_version_of_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # Not the extra `benchmarks`: the tests run without it.
    declared = [
        re.split(r"[\[>=;]", line)[0] for line in project["dependencies"] + project["optional-dependencies"]["test"]
    ]
    locked = {
        line.split("==")[0] for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if "==" in line
    }
    assert {"aiohttp", "pytest-aiohttp"} <= set(declared)
    assert set(declared) - {"pip"} <= locked


# Sizes

MOST_MODULES = 15
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_folder_has_few_modules(folder: Path) -> None:
    assert len([path for path in MODULES if path.parent == folder and path.stem != "__init__"]) <= MOST_MODULES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_and_each_of_its_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert _lines_of_code(node) <= MOST_LINES_OF_A_FUNCTION, node.name


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, its docstring aside."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
