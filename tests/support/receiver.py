"""A receiver of webhooks for tests: a real HTTP server in a thread, with a behaviour per path."""

import contextlib
import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.process import WAIT_TIMEOUT_S


@dataclass(frozen=True)
class Received:
    """One request, as received. `at_s` is on the monotonic clock."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return str(self.json["type"])

    @property
    def job_id(self) -> str:
        return str(self.json["data"]["jobId"])


Behaviour = Callable[["Handling"], None]


class Receiver:
    """Answers 204, except on paths whose behaviour is set. A context manager."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.closing = threading.Event()
        self._came = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), Handling)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def keep(self, request: Received) -> None:
        with self._came:
            self.received.append(request)
            self._came.notify_all()

    def wait_for(self, count: int = 1, timeout_s: float = WAIT_TIMEOUT_S, **sought: str) -> list[Received]:
        """Wait for `count` requests with these attributes (`path`, `event`, `job_id`), and return them."""

        def found() -> list[Received]:
            return [each for each in self.received if all(getattr(each, k) == v for k, v in sought.items())]

        with self._came:
            if not self._came.wait_for(lambda: len(found()) >= count, timeout_s):
                came = [(each.path, each.event, each.job_id) for each in self.received]
                raise AssertionError(f"expected {count} with {sought}, received: {came}")
            return found()[:count]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Receiver


class Handling(BaseHTTPRequestHandler):
    """One request. A behaviour responds with `self.answer`, or writes to `self.wfile` itself."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.receiver.keep(Received(path, headers, body, time.monotonic()))
        behaviour = self.server.receiver.behaviours.get(path, answering(204))
        with contextlib.suppress(OSError):
            behaviour(self)

    def answer(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", "Connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing on the test's stderr."""


def answering(*statuses: int, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with each status in turn, and then with the last one for ever."""
    left = list(statuses)

    def answer(handling: Handling) -> None:
        handling.answer(left.pop(0) if len(left) > 1 else left[0], headers)

    return answer


def hanging(handling: Handling) -> None:
    """Read the request and never answer."""
    handling.server.receiver.closing.wait(WAIT_TIMEOUT_S)


def flooding(handling: Handling) -> None:
    """Answer with ten gigabytes, or as much as the client reads."""
    handling.answer(200, {"Content-Length": str(10 * 1024**3)})
    chunk = b"x" * 65_536
    for _ in range(10 * 1024**3 // len(chunk)):
        handling.wfile.write(chunk)


def bombing(handling: Handling) -> None:
    """Answer with a small body that decompresses to a large one."""
    handling.answer(200, {"Content-Length": str(len(BOMB)), "Content-Encoding": "gzip"})
    handling.wfile.write(BOMB)


def _bomb() -> bytes:

    packer = zlib.compressobj(9, wbits=31)
    return b"".join([packer.compress(bytes(1024 * 1024)) for _ in range(64)] + [packer.flush()])


BOMB = _bomb()
