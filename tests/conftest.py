"""Fixtures that several suites share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process import ServerProcess

TEST_JOBS = Path(__file__).with_name("jobs_for_tests.py")

Serving = Callable[..., ServerProcess]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts servers that know the test jobs; they are gone at the end of the test."""
    with ExitStack() as stack:

        def serve(
            data_dir: str | Path = ":memory:", *arguments: str, env: dict[str, str] | None = None
        ) -> ServerProcess:
            server = ServerProcess(data_dir, "--jobs", str(TEST_JOBS), *arguments, env=env)
            return stack.enter_context(server)

        yield serve


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    """One server for a module's tests that do not stop it."""
    with ServerProcess(":memory:", "--jobs", str(TEST_JOBS)) as server:
        yield server
