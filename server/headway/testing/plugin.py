"""The pytest plugin. pytest imports it in every project of the environment, so it imports nothing before it is used."""

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from .clock import Clock
    from .serving import Server


@pytest.fixture(scope="session")
def headway_jobs() -> "Sequence[Any]":
    """The job types that the fixture `headway` serves: override it in your `conftest.py`.

    Modules by name or path, or functions that are decorated with `@job`.
    """
    raise pytest.UsageError(
        "say which jobs the fixture `headway` serves: by a fixture `headway_jobs` in conftest.py that returns modules"
    )


@pytest.fixture
def headway_clock() -> "Iterator[Clock]":
    """The time that Headway goes by, for the test to move. It is put back after the test."""
    from .clock import Clock  # noqa: PLC0415 - only where it is used

    with Clock() as clock:
        yield clock


@pytest.fixture
def headway(headway_jobs: "Sequence[Any]", headway_clock: "Clock") -> "Iterator[Server]":  # noqa: ARG001 - ends after it
    """A server in this process, with the jobs of `headway_jobs`, with a client: `headway.client.submit(...)`."""
    from .serving import serve  # noqa: PLC0415 - only where it is used

    with serve(headway_jobs) as server:
        yield server


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> "Generator[None]":
    """Let what handlers print get into their jobs' logs: pytest has put other streams in place since the fixture."""
    capturing = sys.modules.get("headway.authoring.capturing")
    if capturing is None:  # nothing of Headway's is used
        return (yield)
    with capturing.present_streams():
        return (yield)
