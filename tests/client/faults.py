"""A proxy that treats requests badly, each fault once, in the order in which they are given."""

import http.client
import json
import socket
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.process import WAIT_TIMEOUT_S
from tests.support.threaded import ThreadedServer


@dataclass(frozen=True)
class Refuse:
    """Answer without asking the server."""

    status: int
    kind: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Lose:
    """Pass the request on, and drop the response."""


@dataclass(frozen=True)
class CutAfter:
    """Cut the response off after so many bytes of its body."""

    size_bytes: int


Fault = Refuse | Lose | CutAfter


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]


class FaultyProxy(ThreadedServer):
    """A context manager. `faults` are for requests whose line contains `matching`; others pass."""

    def __init__(self, port: int, *faults: Fault, matching: str = "", always: Fault | None = None) -> None:
        self.upstream_port = port
        self.faults = deque(faults)
        self.matching, self.always = matching, always
        self.seen: list[Seen] = []
        super().__init__(type("Handler", (_Handler,), {"proxy": self}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self, matching: str) -> list[Seen]:
        return [each for each in self.seen if matching in f"{each.method} {each.path}"]

    def fault(self, seen: Seen) -> Fault | None:
        if self.matching not in f"{seen.method} {seen.path}":
            return None
        return self.faults.popleft() if self.faults else self.always


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy

    def _pass_on(self) -> None:
        self.close_connection = True
        seen = Seen(self.command, self.path, dict(self.headers.items()))
        self.proxy.seen.append(seen)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fault(seen)
        if isinstance(fault, Refuse):
            self._refuse(fault)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream_port, timeout=WAIT_TIMEOUT_S)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, body or None, headers)
            response = upstream.getresponse()
            if isinstance(fault, Lose):
                response.read()
                self._cut()
            else:
                self._answer(response, fault)
        except ConnectionError:
            pass  # either side has disconnected
        finally:
            upstream.close()

    do_GET = do_POST = do_DELETE = do_PATCH = _pass_on  # noqa: N815 - as the base class calls them

    def _refuse(self, fault: Refuse) -> None:
        problem: dict[str, Any] = {"type": f"/problems/{fault.kind}", "title": "Refused", "status": fault.status}
        body = json.dumps(problem).encode() if fault.body is None else fault.body
        self.send_response_only(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, response: http.client.HTTPResponse, fault: CutAfter | None) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        left = float("inf") if fault is None else fault.size_bytes
        while left > 0 and (chunk := response.read1(65536 if fault is None else int(min(left, 65536)))):
            left -= len(chunk)
            self.wfile.write(chunk)
            self.wfile.flush()
        if fault is not None:
            self._cut()

    def _cut(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: tests read the server's own log."""
