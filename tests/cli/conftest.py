"""A server with the job types of these tests, and a shell that speaks to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Shell
from tests.support.process import ServerProcess

JOBS = Path(__file__).with_name("cli_jobs.py")


@pytest.fixture(scope="module")
def jobs_server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:", "--jobs", str(JOBS), "--no-samples") as server:
        yield server


@pytest.fixture
def shell(jobs_server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(f"http://127.0.0.1:{jobs_server.port}", tmp_path)
