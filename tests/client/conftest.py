"""A server with the client's job types, and both clients of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.client.twins import KINDS, Opening, closed, opened
from tests.support.process import ServerProcess

JOBS = Path(__file__).with_name("client_jobs.py")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        yield server


@pytest.fixture(params=KINDS)
def opening(request: pytest.FixtureRequest) -> Iterator[Opening]:
    """Opens clients of one kind, and closes them at the end of the test."""
    with ExitStack() as stack:

        def open_client(url: str, *arguments: Any, **options: Any) -> Any:
            client = opened(request.param, url, *arguments, **options)
            stack.callback(closed, client)
            return client

        yield open_client


@pytest.fixture
def url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}"
