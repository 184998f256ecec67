"""A real server process for tests: `run.py`, sent requests, stopped or killed with real signals."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from tests.support import forking
from tests.support.forking import ForkedProcess
from tests.support.log_scan import check_log

ROOT = Path(__file__).parents[2]
RUN = ROOT / "run.py"
WAIT_TIMEOUT_S = 120.0
"""Ends a wait that would never end. Job processes get only idle CPU time, so on a busy machine they take long."""


@dataclass(frozen=True)
class Reply:
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServerProcess:
    """`run.py serve` on a free port. A context manager: it stops the process at its end."""

    script = RUN

    def __init__(
        self,
        data_dir: str | Path = ":memory:",
        *arguments: str,
        env: dict[str, str] | None = None,
        from_scratch: bool = False,
    ) -> None:
        """`from_scratch` starts a new interpreter, for tests of memory or of the start itself."""
        self._command = [sys.executable, str(self.script), "--port", "0", "--data-dir", str(data_dir), *arguments]
        self._env = {**os.environ, "HEADWAY_SAMPLES": "true", **(env or {})}
        self._from_scratch = from_scratch
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process: subprocess.Popen[bytes] | ForkedProcess
        self.port = 0

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.launch()
        return self.await_start()

    def launch(self) -> None:
        """Start it, without waiting for anything."""
        if self._from_scratch or self._command[:2] != [sys.executable, str(RUN)]:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=self._stderr, env=self._env)
        else:
            self.process = ForkedProcess(self._command[1:], self._env, None, self._stderr.fileno())

    def await_start(self) -> Self:
        """Wait until it answers, once it has been launched."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        prefix = "Listening on http://127.0.0.1:"
        assert line.startswith(prefix), f"the server did not start: {line!r}\n{self.log()}"
        self.port = int(line.removeprefix(prefix))
        return self

    def log(self) -> str:
        """Everything it has written to stderr so far."""
        return os.pread(self._stderr.fileno(), 10_000_000, 0).decode("utf-8", "replace")

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait(WAIT_TIMEOUT_S)

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_TIMEOUT_S)

    def restart(self) -> None:
        """Start again after `kill` or `stop`, on another port."""
        self.close_stdout()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT_TIMEOUT_S)
            self.process.kill()
            self.process.wait()
        self.close_stdout()
        with self._stderr:
            check_log(self.log())

    def close_stdout(self) -> None:
        """Close its output: before another start, and at the end."""
        if self.process.stdout is not None:
            self.process.stdout.close()

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Send one request on a new connection; a body that is not bytes is sent as JSON."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_TIMEOUT_S)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def submit(self, job_type: str, input: Any = None, query: str = "") -> str:
        """Submit a job. Returns its id."""
        reply = self.request("POST", f"/jobs/{job_type}{query}", {} if input is None else input)
        assert reply.status == 202, reply.body
        job_id: str = reply.json["jobId"]
        return job_id

    def upload(self, job_type: str, files: dict[str, bytes], input: Any = None, query: str = "") -> str:
        """Submit a job with files. Returns its id."""
        body, content_type = multipart(files, input)
        reply = self.request("POST", f"/jobs/{job_type}{query}", body, {"Content-Type": content_type})
        assert reply.status == 202, reply.body
        job_id: str = reply.json["jobId"]
        return job_id

    def job(self, job_id: str) -> Any:
        return self.request("GET", f"/jobs/{job_id}").json

    def wait_for(self, job_id: str, *statuses: str) -> Any:
        """Follow the job's stream until it has one of these statuses, by default a terminal one. Returns the job."""
        wanted = statuses or ("completed", "failed", "cancelled")
        for state in self.states(job_id):
            if state["status"] in wanted:
                return self.job(job_id)
        raise AssertionError(f"the stream ended before {wanted}: {self.job(job_id)}")

    def states(self, job_id: str) -> Iterator[Any]:
        """The states that the job's stream sends, until it ends."""
        for event in self.events(f"/jobs/{job_id}/progress"):
            if event.name is None:
                yield event.data

    def events(self, path: str, headers: dict[str, str] | None = None) -> Iterator["Event"]:
        """The events of a stream, until it ends or the caller stops reading."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_TIMEOUT_S)
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield from parse_events(response)
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Send these bytes. Returns everything that comes back until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_TIMEOUT_S) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def run_command(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `run.py` with arguments that make it end by itself: a command, or a server that cannot start."""
    return forking.run([str(RUN), *arguments], {**os.environ, **(env or {})}, WAIT_TIMEOUT_S)


@dataclass(frozen=True)
class Event:
    """One server-sent event. `name` is `None` for an unnamed one."""

    name: str | None
    id: str | None
    data: Any


def parse_events(lines: Any) -> Iterator[Event]:
    """Parse lines (bytes) into events, as the HTML standard's algorithm for event streams dispatches them."""
    name: str | None = None
    id: str | None = None
    data: list[str] = []
    for raw in lines:
        line = raw.decode().rstrip("\n")
        field, _, value = line.partition(": ")
        if not line:
            if data:
                yield Event(name, id, json.loads("\n".join(data)))
            name, id, data = None, None, []
        elif field == "event":
            name = value
        elif field == "id":
            id = value
        elif field == "data":
            data.append(value)


def multipart(files: dict[str, bytes], input: Any = None) -> tuple[bytes, str]:
    """Return a `multipart/form-data` body and its content type."""
    boundary = "----headway-test-boundary"
    parts: list[bytes] = []
    if input is not None:
        head = 'Content-Disposition: form-data; name="input"\r\nContent-Type: application/json'
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n{json.dumps(input)}\r\n".encode())
    for name, content in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{name}.csv"\r\nContent-Type: text/csv'
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def eventually(condition: Any, message: str | Callable[[], str] = "the condition never held") -> Any:
    """Poll until `condition()` is true and return its value: for what has no event to wait for, such as a log line."""
    end = time.monotonic() + WAIT_TIMEOUT_S
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(message if isinstance(message, str) else message())


def calm_s() -> float:
    """A clock for checking time limits that stands still while any process on the machine waits for a CPU or a disk.

    So a limit is checked against the server and not against its neighbours; it runs on while the server idly waits for
    a time-out. Source: Linux PSI, "some" of cpu and io, in microseconds; without PSI, all time counts.
    """
    waited_us = 0
    for resource in ("cpu", "io"):
        with contextlib.suppress(OSError):
            some = Path(f"/proc/pressure/{resource}").read_text().partition("\n")[0]
            waited_us += int(some.rpartition("total=")[2])
    return time.monotonic() - waited_us / 1e6


def alive(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


TRACER = """
import ctypes, sys
assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None) == 0  # PTRACE_SEIZE
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_up(pid: int) -> Iterator[None]:
    """Within the block, nobody can reap a process: its parent can only after the one that traces it (ptrace(2))."""
    command = [sys.executable, "-ISc", TRACER, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        assert tracer.stdout.readline(), "it cannot be traced"
        yield
        tracer.stdin.close()


def descendants(pid: int) -> Sequence[int]:
    """The children of a process, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = [int(child) for child in children]
    return found + [deeper for child in found for deeper in descendants(child)]
