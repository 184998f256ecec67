"""Fixtures for the tests of outgoing requests."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.receiving import connects


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A listening socket to which nothing may connect. Clears `connects`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        connects.clear()
        yield listener
