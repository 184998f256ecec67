"""A proxy that cuts the first stream of a job after its first log line, and the job that goes on after the cut."""

import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.process import WAIT_TIMEOUT_S

JOBS = """
import asyncio
from pathlib import Path
from headway import Context, job
from pydantic import BaseModel

class Gate(BaseModel):
    gate: Path

@job("two-lines")
async def two_lines(ctx: Context, input: Gate) -> str:
    ctx.progress(percent=10)
    ctx.log("first")
    while not input.gate.exists():
        await asyncio.sleep(0.01)
    ctx.log("second")
    return "done"
"""

FIRST_LINE = re.compile(rb'event: log\nid: \d+\ndata: \{[^\n]*"message":"first"[^\n]*\n\n')
RESUMED_AT = re.compile(rb"(?:\r\nLast-Event-ID: *|[?&]lastEventId=)(\d+)", re.IGNORECASE)


class CuttingProxy:
    """Passes bytes on to a server. A connection that has received the first log line is closed, until one has resumed.

    A context manager. The first request with `Last-Event-ID` or `?lastEventId=` opens the gate. One cut is enough,
    unless the client is a busy Chromium: it drops what it has not read when a connection ends, so it may not have seen
    the line.
    """

    def __init__(self, port: int, gate: Path) -> None:
        """`port`: the server's. `gate`: the file that the job waits for."""
        self._to, self._gate = ("127.0.0.1", port), gate
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept)
        self._passing: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self.resumed_at: list[int] = []
        """After which event each request for the stream wanted to go on."""
        self.cuts = 0

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in (self._accepting, *self._passing):
            thread.join(WAIT_TIMEOUT_S)
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._to, timeout=WAIT_TIMEOUT_S)
            client.settimeout(WAIT_TIMEOUT_S)
            self._connections += [client, server]
            for passing in (self._requests, self._answers):
                thread = threading.Thread(target=self._until_closed, args=(passing, client, server))
                self._passing.append(thread)
                thread.start()

    def _until_closed(self, passing: object, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            passing(client, server)  # type: ignore[operator]
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while received := client.recv(65536):
            if found := RESUMED_AT.search(received):
                self.resumed_at.append(int(found[1]))
                self._gate.touch()
            server.sendall(received)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        seen = b""
        while received := server.recv(65536):
            client.sendall(received)
            seen += received
            if not self.resumed_at and FIRST_LINE.search(seen):
                self.cuts += 1
                return
