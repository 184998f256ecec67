"""SIGTERM: the server stops in time, and nothing is lost."""

import socket
from pathlib import Path

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, alive, calm_s, descendants, eventually
from tests.support.serving import Serving

EXIT_WITHIN_S = 5.0


def test_a_stop_with_jobs_of_every_kind_and_a_stalled_reader_is_graceful(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, "--max-processes", "2")
    ids = [
        server.submit("steps-async", {"steps": 1000, "step_s": 0.05}),
        server.submit("steps-process", {"steps": 1000, "step_s": 0.05}),
        server.submit("stubborn-process"),
        server.submit("stubborn-async"),
    ]
    for job_id in ids:
        next(state for state in server.states(job_id) if state["message"])
    children = descendants(server.process.pid)
    with _stalled(server, "/jobs/progress"), _stalled(server, f"/jobs/{ids[0]}/progress"):
        started_s = calm_s()
        assert server.stop() == 0, server.log()
        assert calm_s() - started_s < EXIT_WITHIN_S
    eventually(lambda: not any(alive(pid) for pid in children))
    assert "Traceback" not in server.log()

    server.restart()
    for job_id in ids:
        job = server.job(job_id)
        assert job["status"] in ("queued", "running")
        assert job["maxAttempts"] == 2  # one interruption, which does not use up an attempt


def test_a_second_signal_ends_the_server_at_once_and_leaves_a_valid_record(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("stubborn-process")
    next(state for state in server.states(job_id) if state["message"])
    server.process.terminate()
    eventually(lambda: "stopping" in server.log())
    server.process.terminate()
    second_s = calm_s()
    assert server.process.wait(WAIT_TIMEOUT_S) in (0, 1)
    assert calm_s() - second_s < EXIT_WITHIN_S
    server.restart()
    assert server.job(job_id)["status"] in ("queued", "running")


def test_a_submission_during_the_stop_is_accepted_durably_or_refused(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    blocker = server.submit("stubborn-process")
    next(state for state in server.states(blocker) if state["message"])
    connection = socket.create_connection(("127.0.0.1", server.port))
    server.process.terminate()
    eventually(lambda: "stopping" in server.log())
    request = b"POST /jobs/noop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with connection:
        try:
            connection.sendall(request)
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 503", b"HTTP/1.1 202")), answer
    server.process.wait(WAIT_TIMEOUT_S)
    server.restart()
    jobs = server.request("GET", "/jobs?type=noop").json["jobs"]
    assert len(jobs) == (1 if answer.startswith(b"HTTP/1.1 202") else 0)


class _stalled:  # noqa: N801 - used like a function
    """A client that opens a stream and never reads it."""

    def __init__(self, server: ServerProcess, path: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._socket.connect(("127.0.0.1", server.port))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def __enter__(self) -> None:
        self._socket.recv(1)  # the stream has begun

    def __exit__(self, *_: object) -> None:
        self._socket.close()
