"""What the tests of outgoing requests share."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.receiving import connects


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """Listens on the loopback, where nobody may come; `connects` starts with the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        connects.clear()
        yield listener
