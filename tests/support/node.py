"""Programs for Node.js in tests: a folder with what a `package.json` names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import WAIT_TIMEOUT_S


def need(program: str) -> None:
    """Skip the test without `node` or `npm`, or fail it if `TESTS_REQUIRE_NODE=1`."""
    if shutil.which(program) is None:
        if os.environ.get("TESTS_REQUIRE_NODE") == "1":
            pytest.fail(f"TESTS_REQUIRE_NODE=1, and there is no {program}")
        pytest.skip(f"NO TESTS WITH NODE: there is no {program} (apt-get install npm)")


def install(source: Path, folder: Path, *names: str) -> Path:
    """`folder`, with the packages that `source/package.json` names and these files of `source`."""
    need("npm")
    for name in ("package.json", *names):
        shutil.copy(source / name, folder)
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
    return folder


def run(folder: Path, *command: str) -> str:
    """What a command prints. It has to succeed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=5 * WAIT_TIMEOUT_S, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
