"""Bodies that are files themselves, for job types whose input is one file."""

import gzip
import hashlib
from pathlib import Path

import pytest

from tests.support.keys import bearer, make_key
from tests.support.process import ServerProcess, eventually
from tests.support.raw import JSON, RawReply, assert_problem, exchange, form, part, request_bytes, send
from tests.support.serving import LATER, TEST_JOBS, Serving

CSV = b"day,sold\nMonday,12\n"
REPORT = f"/jobs/csv-report{LATER}"
MIB = 1024 * 1024


def post(server: ServerProcess, body: bytes, *headers: tuple[str, str], path: str = REPORT) -> RawReply:
    return send(server, "POST", path, [("Content-Type", "text/csv"), *headers], body)


def test_a_body_of_another_media_type_is_the_file(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    content = bytes(range(256)) * 12_000
    named = ("Content-Disposition", 'attachment; filename="sales.csv"')
    reply = post(server, content, named, path=f"{REPORT}&label=June")
    assert reply.status == 202, reply.body
    job = server.job(reply.json["jobId"])
    file = {"name": "sales.csv", "sizeBytes": len(content), "contentType": "text/csv"}
    assert (job["label"], job["input"]) == ("June", {"file": file})
    assert (tmp_path / "jobs" / job["jobId"] / "inputs" / "file").read_bytes() == content
    assert not list((tmp_path / "incoming").iterdir())


def test_a_job_runs_with_it_as_with_a_form(server: ServerProcess) -> None:
    raw = post(server, CSV, path="/jobs/csv-report").json["jobId"]
    formed = server.upload("csv-report", {"file": CSV})
    results = [server.wait_for(job_id)["result"] for job_id in (raw, formed)]
    assert results[0] is not None
    assert results[0]["columns"] == results[1]["columns"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "file"),
        ("attachment; filename=a.csv", "a.csv"),
        ("inline; filename=\"x.csv\"; filename*=UTF-8''%E2%82%AC.csv", "€.csv"),
        ('attachment; filename="../../etc/passwd"', "../../etc/passwd"),
        ("attachment; filename=", "file"),
        ("; ; =", "file"),
    ],
)
def test_its_name_comes_from_the_content_disposition(server: ServerProcess, given: str | None, name: str) -> None:
    headers = [] if given is None else [("Content-Disposition", given)]
    reply = post(server, CSV, *headers)
    assert server.job(reply.json["jobId"])["input"]["file"]["name"] == name


def test_a_compressed_body_is_decompressed(server: ServerProcess) -> None:
    reply = post(server, gzip.compress(CSV), ("Content-Encoding", "gzip"))
    assert server.job(reply.json["jobId"])["input"]["file"]["sizeBytes"] == len(CSV)


def test_a_repetition_returns_the_same_job_as_file_or_as_form(server: ServerProcess) -> None:
    key = ("Idempotency-Key", '"raw"')
    first = post(server, CSV, key)
    again = post(server, CSV, key)
    boundary = ("Content-Type", "multipart/form-data; boundary=b-o-u-n-d-a-r-y")
    formed = send(server, "POST", REPORT, [boundary, key], form(part("file", CSV, "x.csv")))
    for reply in (again, formed):
        assert (reply.status, reply.json["jobId"]) == (202, first.json["jobId"])
        assert reply.headers["Idempotency-Replayed"] == "true"
    assert_problem(post(server, CSV + b"x", key), 422, "idempotency-key-reused")


def test_a_type_that_needs_more_takes_no_such_body(server: ServerProcess) -> None:
    for path in ("/jobs/noop", "/jobs/reads-upload", "/jobs"):
        assert_problem(post(server, CSV, path=path), 415, "unsupported-media-type")
    assert_problem(send(server, "POST", REPORT, (), CSV), 415, "unsupported-media-type")
    assert_problem(send(server, "POST", REPORT, JSON, b"{}"), 422, "validation-failed", "/file")


def test_too_large_a_file_and_one_beyond_the_quota_leave_nothing(serving: Serving, tmp_path: Path) -> None:
    bob = bearer(make_key(tmp_path, "bob"))["Authorization"]
    ann = bearer(make_key(tmp_path, "ann", "--quota", f"bytes={3 * MIB}"))["Authorization"]
    server = serving(tmp_path, "--jobs", str(TEST_JOBS), env={"HEADWAY_MAX_UPLOAD_BYTES": str(4 * MIB)})
    key = ("Authorization", ann)
    assert_problem(post(server, b"x" * (4 * MIB + 1), ("Authorization", bob)), 413, "too-large")
    chunked = b"".join(b"%x\r\n%s\r\n" % (MIB, b"x" * MIB) for _ in range(4)) + b"0\r\n\r\n"
    full = exchange(
        server, request_bytes("POST", REPORT, [("Content-Type", "a/b"), key, ("Transfer-Encoding", "chunked")], chunked)
    )
    assert full is not None
    assert_problem(full, 507, "storage-quota-exceeded")
    assert post(server, b"x" * 2 * MIB, key).status == 202
    eventually(lambda: not list((tmp_path / "incoming").iterdir()))
    assert hashlib.sha256(b"".join(file.read_bytes() for file in tmp_path.glob("jobs/*/inputs/file"))).digest() == (
        hashlib.sha256(b"x" * 2 * MIB).digest()
    )
