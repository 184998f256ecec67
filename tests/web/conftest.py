"""Servers whose logs are checked at the end: whatever they were sent, no unexpected error may be in them."""

from collections.abc import Iterator

import pytest

from tests.support.log_scan import without_handlers_exceptions
from tests.support.process import ServerProcess
from tests.support.proxy import PrefixProxy
from tests.support.serving import TEST_JOBS, Serving

UNEXPECTED = (
    "an endpoint failed",
    "Unhandled exception",
    "Error handling request",
    "a background loop failed",
    "background work failed",
    "unexpected domain",
)


def assert_no_unexpected_errors(server: ServerProcess) -> None:
    log = without_handlers_exceptions(server.log())
    found = [line for line in log.splitlines() if any(text in line for text in ("Traceback", *UNEXPECTED))]
    assert not found, log[log.index(found[0]) - 500 :][:4000]


@pytest.fixture(scope="module")
def server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """The module's server, whose log is checked at the end."""
    yield shared_server
    assert_no_unexpected_errors(shared_server)


@pytest.fixture
def serving(serving: Serving) -> Iterator[Serving]:
    """Starts servers, whose logs are checked at the end."""
    started: list[ServerProcess] = []

    def serve(*arguments: object, **options: object) -> ServerProcess:
        server = serving(*arguments, **options)
        started.append(server)
        return server

    yield serve
    for server in started:
        assert_no_unexpected_errors(server)


@pytest.fixture(scope="module")
def proxy() -> Iterator[PrefixProxy]:
    with PrefixProxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def published(proxy: PrefixProxy) -> Iterator[ServerProcess]:
    """A server behind `proxy` that knows its public URL; its log is checked at the end."""
    public = {"HEADWAY_PUBLIC_URL": proxy.url}
    with ServerProcess(":memory:", "--jobs", str(TEST_JOBS), env=public) as server:
        proxy.upstream_port = server.port
        yield server
        assert_no_unexpected_errors(server)
