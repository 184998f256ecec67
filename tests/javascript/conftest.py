"""A folder with the client as a package, made by `npm pack` and installed, beside what checks and runs it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import JOBS
from tests.support.node import install, run
from tests.support.process import ROOT, ServerProcess

HERE = Path(__file__).parent
STATIC = ROOT / "static"

Program = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the package installed, and nothing else."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    add_package(folder)
    return folder


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the package, and with what `package.json` names."""
    folder = install(HERE, tmp_path_factory.mktemp("workshop"), "tsconfig.json", "use.ts")
    add_package(folder)
    return folder


def add_package(folder: Path) -> list[str]:
    """Pack the client and install it. Returns the names of the files in the package."""
    (packed,) = json.loads(run(folder, "npm", "pack", str(STATIC), "--json", "--loglevel=error"))
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", packed["filename"])
    return sorted(file["path"] for file in packed["files"])


@pytest.fixture
def program(folder: Path) -> Program:
    """Runs a module in Node.js and returns what it told, with `Client`, `Problem` and `tell(value)` at hand."""

    def call(text: str, *arguments: str) -> Any:
        before = 'import { Client, Problem, Unreachable } from "@headway/client";\n'
        before += "const args = process.argv.slice(1);\nconst tell = (told) => console.log(JSON.stringify(told));\n"
        return json.loads(run(folder, "node", "--input-type=module", "--eval", before + text, *arguments))

    return call
