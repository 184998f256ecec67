"""The servers of these tests must not have made a mistake by the end, whatever they were sent."""

from collections.abc import Iterator

import pytest

from tests.support.process import ServerProcess
from tests.support.proxy import PrefixProxy
from tests.support.serving import TEST_JOBS, Serving

MISTAKES = ("an endpoint failed", "Unhandled exception", "Error handling request", "a turn failed", "unexpected domain")


def assert_no_mistakes(server: ServerProcess) -> None:
    log = server.log()
    found = [line for line in log.splitlines() if line.startswith("Traceback") or any(m in line for m in MISTAKES)]
    assert not found, log[log.index(found[0]) - 500 :][:4000]


@pytest.fixture(scope="module")
def server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """The module's server, whose log is read at the end."""
    yield shared_server
    assert_no_mistakes(shared_server)


@pytest.fixture
def serving(serving: Serving) -> Iterator[Serving]:
    """Starts servers, whose logs are read at the end."""
    started: list[ServerProcess] = []

    def serve(*arguments: object, **options: object) -> ServerProcess:
        server = serving(*arguments, **options)
        started.append(server)
        return server

    yield serve
    for server in started:
        assert_no_mistakes(server)


@pytest.fixture(scope="module")
def proxy() -> Iterator[PrefixProxy]:
    with PrefixProxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def published(proxy: PrefixProxy) -> Iterator[ServerProcess]:
    """A server behind `proxy` that knows where it is public; its log is read at the end."""
    public = {"HEADWAY_PUBLIC_URL": proxy.url}
    with ServerProcess(":memory:", "--jobs", str(TEST_JOBS), env=public) as server:
        proxy.upstream_port = server.port
        yield server
        assert_no_mistakes(server)
