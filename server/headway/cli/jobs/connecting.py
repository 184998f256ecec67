"""Which server a command speaks to, and with which key."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...client import Client
from .logins import Logins
from .statuses import refusals

SHORT_RETRY_S = 1.0
"""People and scripts want to know soon that there is no server."""
DEFAULT_DATA_DIR = "headway-data"
SOCKET_NAME = "headway.sock"


class Place(NamedTuple):
    """A server's URL, `None` for the client's default, and the key for it, `None` for that of the environment."""

    url: str | None
    api_key: str | None


@contextmanager
def connected(url: str | None, *, retry_for_s: float = SHORT_RETRY_S) -> Iterator[Client]:
    """A client of the server. What it raises within the block ends the process with a line and an exit status."""
    with refusals():
        place = find_server(url)
        with Client(place.url, place.api_key, retry_for_s=retry_for_s) as client:
            yield client


def find_server(given: str | None) -> Place:
    """The server that was given, or of `HEADWAY_URL`, of the login, or of the data directory here.

    The login's key is for the login's server only.
    """
    logins = Logins()
    url = given or os.environ.get("HEADWAY_URL") or logins.current or _local_server()
    key = None if url is None or os.environ.get("HEADWAY_API_KEY") else logins.key_for(url)
    return Place(url, key)


def _local_server() -> str | None:
    """The address of the server that owns the data directory here, `None` without one."""
    folder = Path(os.environ.get("HEADWAY_DATA_DIR") or DEFAULT_DATA_DIR).expanduser().resolve()
    if not (folder / SOCKET_NAME).exists():
        return None
    from ...errors import SetupError  # noqa: PLC0415 - most find their server otherwise
    from ...operating.socket import ask  # noqa: PLC0415

    try:
        address: str | None = ask(folder, "address", {})["address"]
    except SetupError:  # it was killed, or is about to start
        return None
    return address
