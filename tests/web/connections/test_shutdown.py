"""SIGTERM while clients are connected: streams end, waiting requests get a response, nothing is lost."""

import concurrent.futures
import contextlib
import json
import signal
import socket
from pathlib import Path

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, calm_s, eventually
from tests.support.raw import (
    FORM,
    RawStream,
    assert_problem,
    data_of,
    form,
    is_state,
    parse,
    part,
    read_to_end,
    request_bytes,
)
from tests.support.serving import LATER, Serving


def exit_code(server: ServerProcess) -> int:
    return server.process.wait(WAIT_TIMEOUT_S)


def test_streams_end_cleanly_within_a_second(serving: Serving) -> None:
    server = serving()
    waiting = server.submit("noop", query=LATER)
    running = server.submit("steps-async", {"steps": 1000, "step_s": 0.05})
    paths = (f"/jobs/{waiting}/progress", f"/jobs/{running}/progress", "/jobs/progress")
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(RawStream(server, path)) for path in paths for _ in range(5)]
        for stream in streams:
            assert next(stream.frames())
        server.process.send_signal(signal.SIGTERM)
        signalled_s = calm_s()
        for stream in streams:
            for frame in stream.frames():
                assert not is_state(frame) or data_of(frame)["status"] in ("queued", "running")
            assert stream.ended
        assert calm_s() - signalled_s < 1
    assert exit_code(server) == 0


def test_a_stalled_reader_does_not_delay_the_shutdown(serving: Serving) -> None:
    server = serving(":memory:", "--max-tasks", "40", env={"HEADWAY_TICK_S": "0.01"})
    for _ in range(40):
        server.submit("storms", {"steps": 100_000, "step_s": 0.05})
    with (
        RawStream(server, "/jobs/progress", receive_buffer=4096) as stalled,
        RawStream(server, "/jobs/progress") as reader,
    ):
        frames = reader.frames()
        received = 0
        while received < 6_000_000:  # more than a kernel holds for the one who does not read
            received += len(next(frames))
        server.process.send_signal(signal.SIGTERM)
        signalled_s = calm_s()
        assert all(frames)
        assert reader.ended
        assert calm_s() - signalled_s < 1
        assert exit_code(server) == 0
        assert calm_s() - signalled_s < 2  # it was cut: aiohttp alone would wait longer
        stalled.close()


def test_a_waiting_cancel_gets_a_response_at_shutdown(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, env={"HEADWAY_CANCEL_GRACE_S": "10", "HEADWAY_SHUTDOWN_GRACE_S": "0.5"})
    job_id = server.submit("stubborn-process")
    assert any(state["message"] for state in server.states(job_id))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        cancel = pool.submit(server.request, "DELETE", f"/jobs/{job_id}")
        assert any(state["cancelRequested"] for state in server.states(job_id))
        server.process.send_signal(signal.SIGTERM)
        reply = cancel.result(WAIT_TIMEOUT_S)
    assert (reply.status, reply.json["cancelRequested"]) == (202, True)
    assert exit_code(server) == 0
    server.restart()
    assert server.wait_for(job_id)["status"] == "cancelled"


def test_an_upload_in_progress_at_shutdown_is_either_refused_or_durable(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    body = form(part("document", b"x" * 3_000_000, "a.txt"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(request_bytes("POST", "/jobs/reads-upload", FORM, body)[:-20])
        eventually(lambda: any((path / "document").exists() for path in (tmp_path / "incoming").iterdir()))
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in server.log())
        with contextlib.suppress(ConnectionError):  # it lingers for us, but not for ever
            connection.sendall(body[-20:])
        received = read_to_end(connection)
    assert exit_code(server) == 0
    accepted = [parse(received).json["jobId"]] if received.startswith(b"HTTP/1.1 202") else []
    assert accepted or parse(received).status == 503
    server.restart()
    assert [job["jobId"] for job in server.request("GET", "/jobs").json["jobs"]] == accepted
    assert list((tmp_path / "incoming").iterdir()) == []
    assert len(list((tmp_path / "jobs").iterdir())) == len(accepted)


def test_submissions_are_refused_during_shutdown(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_SHUTDOWN_GRACE_S": "2"})
    # A request whose body is still to come when the signal arrives is one that was being served.
    body = json.dumps({"type": "noop"}).encode()
    request = request_bytes("POST", "/jobs", [("Content-Type", "application/json")], body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(request[:-1])
        server.request("GET", "/healthz")
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in server.log())
        with contextlib.suppress(ConnectionError):  # it lingers for us, but not for ever
            connection.sendall(request[-1:])
        reply = parse(read_to_end(connection))
    assert_problem(reply, 503, "stopping")
    assert int(reply.headers["Retry-After"]) >= 1
    assert exit_code(server) == 0
