"""A lease that ends while a request of its worker arrives: that is not the worker's fault."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from headway.web.identity.penalties import AT_ONCE, BYTES_EACH, LONGEST_S, MOST_OWED_S, PER_S

from tests.support.keys import bearer, make_key
from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import Headers, RawReply, assert_problem, parse, read_to_end, request_bytes
from tests.support.uploading import CONTINUE
from tests.support.working import Assignment, Worker

REMOTE_JOBS = ROOT / "tests" / "job_types" / "remote_jobs.py"
NO_GRACE = {
    "HEADWAY_SAMPLES": "false",
    "HEADWAY_TRUSTED_PROXIES": "203.0.113.1",
    "HEADWAY_CANCEL_GRACE_S": "0.01",
    "HEADWAY_MAX_BODY_BYTES": str(16 * 1024 * 1024),
}
ENOUGH_BYTES = int(BYTES_EACH * (AT_ONCE + PER_S * (MOST_OWED_S - LONGEST_S)))
"""After the refusal of such a body its sender's next ones are not read."""

Send = Callable[[bytes], RawReply]


@contextmanager
def begun(assignment: Assignment, method: str, step: str, headers: Headers, length_bytes: int) -> Iterator[Send]:
    """A request with the lease whose body the server waits for."""
    sent = [
        *assignment.headers.items(),
        ("Headway-Lease", assignment.fields["lease"]),
        ("Expect", "100-continue"),
        ("Content-Length", str(length_bytes)),
        *headers,
    ]
    with socket.create_connection(("127.0.0.1", assignment.server.port), WAIT_TIMEOUT_S) as connection:
        connection.sendall(request_bytes(method, f"/work/{assignment.fields['type']}/{step}", sent))
        assert connection.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE

        def send(body: bytes) -> RawReply:
            connection.sendall(body)
            return parse(read_to_end(connection))

        yield send


@pytest.mark.parametrize(
    ("method", "step", "headers", "body"),
    [
        ("PUT", "files/report.bin", [], bytes(ENOUGH_BYTES)),
        (
            "POST",
            "complete",
            [("Content-Type", "application/json")],
            json.dumps({"result": "x" * ENOUGH_BYTES}).encode(),
        ),
        ("POST", "logs", [("Content-Type", "text/plain")], b"x" * ENOUGH_BYTES),
    ],
    ids=["file", "result", "logs"],
)
def test_a_worker_whose_lease_ends_while_it_sends_is_not_refused_for_it(
    method: str, step: str, headers: Headers, body: bytes, tmp_path: Path
) -> None:
    ann, key = bearer(make_key(tmp_path, "ann")), bearer(make_key(tmp_path, "worker", "--work", "double"))
    with ServerProcess(tmp_path, "--jobs", str(REMOTE_JOBS), env=NO_GRACE) as server:
        worker = Worker(server, "double", key)
        job = server.request("POST", "/jobs/double", {"number": 1}, dict(ann)).json["jobId"]
        assignment = worker.claim()
        with begun(assignment, method, step, headers, len(body)) as send:
            assert server.request("DELETE", f"/jobs/{job}", headers=dict(ann)).status in (202, 204)
            assignment.send("progress")
            cancelled = server.request("GET", f"/jobs/{job}?wait=50", headers=dict(ann)).json
            assert cancelled["status"] == "cancelled"
            assert_problem(send(body), 409, "lease-lost")
        accepted = server.request("POST", "/jobs/double", {"number": 2}, dict(key))
        assert accepted.status == 202, accepted.body
