"""Redis, which the peers of some benchmarks need: a server of their own, with its data on a real disk."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.process import ROOT, WAIT_TIMEOUT_S, eventually


def missing() -> str | None:
    """Why it cannot run, or `None`."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed: apt-get install redis-server"
    return None


@contextmanager
def running(*arguments: str) -> Iterator[int]:
    """A Redis with its defaults and these arguments; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            eventually(lambda: _answers(port), "Redis does not answer")
            yield port
        finally:
            process.terminate()
            process.wait(WAIT_TIMEOUT_S)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
    except OSError:
        return False
