"""The walls of the house, each seen to hold and, in a copy of the package with one wrong import, seen to fail."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.process import ROOT

LINT = str(Path(sys.executable).with_name("lint-imports"))

BREACHES = {
    "floors": ("ports/events.py", "from ..service.waiting import Waiting"),
    "adapters": ("service/reading.py", "from ..backends.bells import LocalHub"),
    "web-and-running": ("web/parts.py", "from ..running.engine import EmbeddedEngine"),
    "operating-and-service": ("operating/retention.py", "from ..service.reading import Reading"),
    "without-http": ("domain/urls.py", "import aiohttp"),
    "sqlite": ("operating/retention.py", "import aiosqlite"),
    "backends": ("backends/memory/snapshots.py", "from ..sqlite.store import SqliteStore"),
    "pure-domain": ("domain/jobs.py", "import asyncio"),
    "samples": ("samples/ping.py", "from headway.domain.jobs import Job"),
    "client": ("client/calls.py", "from ..limits import INTEGER_DIGITS"),
    "web": ("web/streams/one.py", "from ..endpoints.jobs import read_job"),
}
"""A wrong import for each contract: the module that it is added to, and the line."""


def _contracts() -> list[str]:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    return [contract["id"] for contract in tools["importlinter"]["contracts"]]


def _lint(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(directory / "server")}
    return subprocess.run(
        [LINT, "--no-cache", *arguments], cwd=directory, env=env, capture_output=True, text=True, check=False
    )


def test_the_walls_hold() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_every_wall_has_a_breach_to_be_tried() -> None:
    assert list(BREACHES) == _contracts()


@pytest.mark.parametrize("contract", BREACHES)
def test_a_wrong_import_is_found(contract: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "server", tmp_path / "server", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    name, line = BREACHES[contract]
    module = tmp_path / "server" / "headway" / name
    module.write_text(f"{module.read_text('utf-8')}\n{line}\n", "utf-8")
    done = _lint(tmp_path, "--contract", contract)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
