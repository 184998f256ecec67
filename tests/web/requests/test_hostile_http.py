"""Requests that no honest client sends: refused or harmless, never a 500, and nothing that one of them smuggles in."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import (
    FORM,
    JSON,
    RawStream,
    assert_problem,
    data_of,
    exchange,
    form,
    is_state,
    part,
    read_to_end,
    request_bytes,
    send,
)
from tests.support.serving import UNKNOWN, Serving

SMUGGLED = b"GET /jobs/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
INJECTED = "a\r\nX-Injected: yes\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
ODD_TEXT = f"{INJECTED}\n\ndata: {{}}\n\nevent: log\rid: 9\u2028\u2029\x00\x1b[31m<script>alert(1)</script>"


def conversation(server: ServerProcess, request: bytes) -> bytes:
    """All that comes back until the server closes; it must."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(request)
        return read_to_end(connection)


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", received, re.MULTILINE)]


def post(framing: bytes, body: bytes) -> bytes:
    return b"POST /jobs/noop HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n%s\r\n%s" % (
        framing,
        body,
    )


# Where one request ends and the next begins

CL, TE = b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
IN_DOUBT = {
    "CL.TE": post(b"Content-Length: 5\r\n" + TE, b"0\r\n\r\n" + SMUGGLED),
    "TE.CL": post(TE + b"Content-Length: 4\r\n", b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
    "TE twice": post(TE + TE, CHUNKS + SMUGGLED),
    "TE twice, once odd": post(TE + b"Transfer-Encoding: identity\r\n", CHUNKS + SMUGGLED),
    "TE of two codings": post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS + SMUGGLED),
    "TE not chunked at last": post(b"Transfer-Encoding: chunked, gzip\r\n", CHUNKS + SMUGGLED),
    "TE unknown": post(b"Transfer-Encoding: xchunked\r\n", CHUNKS + SMUGGLED),
    "TE with a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS + SMUGGLED),
    "TE with a space before the colon": post(b"Transfer-Encoding : chunked\r\n" + CL, CHUNKS + SMUGGLED),
    "TE folded": post(b"Transfer-Encoding:\r\n chunked\r\n" + CL, CHUNKS + SMUGGLED),
    "TE in HTTP/1.0": post(TE + CL, CHUNKS + SMUGGLED).replace(b"HTTP/1.1\r\nHost", b"HTTP/1.0\r\nHost", 1),
    "two lengths": post(CL + b"Content-Length: 7\r\n", b"{}" + SMUGGLED),
    "the same length twice": post(CL + CL, b"{}" + SMUGGLED),
    "a list of lengths": post(b"Content-Length: 2, 2\r\n", b"{}" + SMUGGLED),
    "a length with a sign": post(b"Content-Length: +2\r\n", b"{}" + SMUGGLED),
    "a negative length": post(b"Content-Length: -2\r\n", b"{}" + SMUGGLED),
    "a hexadecimal length": post(b"Content-Length: 0x2\r\n", b"{}" + SMUGGLED),
    "a length with an underscore": post(b"Content-Length: 1_0\r\n", b"{}" + SMUGGLED),
    "a length in other digits": post("Content-Length: ٢\r\n".encode(), b"{}" + SMUGGLED),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551618\r\n", b"{}" + SMUGGLED),
    "an empty length": post(b"Content-Length: \r\n", SMUGGLED),
    "a chunk's size with a sign": post(TE, b"+2\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk's size as 0x": post(TE, b"0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk's size beyond 64 bits": post(TE, b"10000000000000002\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk that is longer than it says": post(TE, b"1\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk without its line end": post(TE, b"2\r\n{}0\r\n\r\n" + SMUGGLED),
    "a line feed alone after a size": post(TE, b"2\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a carriage return in an extension": post(TE, b"2;a=\rb\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
}


@pytest.mark.parametrize("request_bytes", IN_DOUBT.values(), ids=IN_DOUBT)
def test_where_framing_is_in_doubt_nothing_more_is_read(server: ServerProcess, request_bytes: bytes) -> None:
    received = conversation(server, request_bytes)
    assert statuses(received) in ([400], [])
    assert b"smuggled" not in received.partition(b"\r\n\r\n")[2].replace(b"/jobs/smuggled HTTP/1.1", b"")


HEADS = {
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n  c\r\n\r\n",
    "a fold first": b"GET / HTTP/1.1\r\n X-A: b\r\nHost: a\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a carriage return in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rX-B: c\r\n\r\n",
    "a carriage return in the target": b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n",
    "line feeds alone": b"GET / HTTP/1.1\nHost: a\n\n",
    "a line feed in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\nX-B: c\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "an empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n",
    "too long a line": b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 40_000),
    "too long a header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: %s\r\n\r\n" % (b"x" * 40_000),
    "a thousand headers": b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n" % (b"X-A: b\r\n" * 1_000),
    "no version": b"GET /\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2's greeting": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another protocol": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no path": b"GET jobs HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method of bytes": b"\xff\xfe / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    "nothing but noise": bytes(range(256)) * 8 + b"\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_malformed_head_is_rejected_and_closes_the_connection(server: ServerProcess, head: bytes) -> None:
    received = conversation(server, head + SMUGGLED)
    assert statuses(received)[:1] in ([400], [404], [405], [421], [])
    assert len(statuses(received)) <= 1
    assert not received or received.startswith((b"HTTP/1.1 4", b"HTTP/1.0 400 "))
    assert server.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("version", ["", " HTTP/0.9", " HTTP/2.0", " HTTP/1.2"])
def test_another_version_of_http_is_refused_in_ours(server: ServerProcess, version: str) -> None:
    request = f"GET /healthz{version}\r\nHost: 127.0.0.1\r\n\r\n".encode()
    assert conversation(server, request).startswith(b"HTTP/1.1 400 " if version != " HTTP/1.2" else b"HTTP/1.")


@pytest.mark.parametrize("rubbish", [b"\x00" * 100, b"rubbish\r\n\r\n", b"{}" * 50, b"\r\n\r\n\r\nGET\r\n\r\n"])
def test_rubbish_after_a_good_request_harms_only_itself(server: ServerProcess, rubbish: bytes) -> None:
    good = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(good)
        assert statuses(connection.recv(65536)) == [200]
        connection.sendall(rubbish + SMUGGLED)
        assert statuses(read_to_end(connection)) == [400]
    assert set(statuses(conversation(server, good + good + rubbish + SMUGGLED))) <= {200, 400}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://evil.example/jobs", (200, 400, 421)),
        ("http://evil.example:1/jobs/stats", (200, 400, 421)),
        ("http://user:password@evil.example/jobs", (200, 400, 421)),
        ("http://[::1/jobs", (400,)),
        ("http://", (400, 404, 421)),
        ("//evil.example/jobs", (404,)),
        ("/\\evil.example", (404,)),
        ("*", (400, 404)),
    ],
)
def test_a_target_with_another_host_leads_nowhere_else(
    server: ServerProcess, target: str, expected: tuple[int, ...]
) -> None:
    reply = exchange(server, request_bytes("GET", target))
    if reply is not None:
        assert reply.status in expected
        assert "evil" not in str(reply.headers)


@pytest.mark.parametrize(
    "path",
    [
        *("%00", "%0d%0aX-Injected:%20yes", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "..%5c..%5c", "%c0%ae%c0%af"),
        *("%e0%80%af", "%f0%80%80%af", "%ed%a0%80", "%f4%90%80%80", "%ff", "%", "%2", "%zz", "%u0041", "%25%30%30"),
        *("a" * 8_192, "%00" * 2_700, "a%2fb", "....//", ";/", "?/../", "%09", "%20", "%7f", "%e2%80%ae"),
    ],
    ids=lambda value: value[:24],
)  # fmt: skip
def test_an_odd_path_is_a_404(server: ServerProcess, path: str) -> None:
    for where in (
        "/{}",
        "/jobs/{}",
        "/jobs/{}/progress",
        f"/jobs/{UNKNOWN}/files/{{}}",
        "/static/{}",
        "/operations/{}",
    ):
        reply = send(server, "GET", where.format(path))
        assert reply.status in (400, 404) or (path.startswith("?") and reply.status in (404, 200, 422))
        assert "X-Injected" not in reply.headers


@pytest.mark.parametrize("path", ["/" + "a/" * 15_000, "/static/" + "a/" * 15_000, "/" + "../" * 10_000])
def test_a_path_of_very_many_segments_is_cut_before_it_is_routed(server: ServerProcess, path: str) -> None:
    problem = assert_problem(send(server, "GET", path), 404, "not-found")
    assert problem["instance"].count("/") < 65


def test_slashes_in_a_query_are_not_segments(server: ServerProcess) -> None:
    assert send(server, "GET", f"/jobs?label={'/' * 150}").status == 200
    assert_problem(send(server, "GET", f"/jobs?surprise={'/' * 150}"), 422, "validation-failed", "/surprise")


def test_a_header_has_at_most_eight_kilobytes(server: ServerProcess) -> None:
    for length, status in ((8_000, 200), (9_000, 400)):
        assert send(server, "GET", "/healthz", [("Cookie", "a" * length)]).status == status


# What is sent comes back in JSON alone


def test_headers_that_are_echoed_cannot_be_split(server: ServerProcess) -> None:
    odd = (
        '"a\\r\\nX-Injected: yes"',
        '"%0d%0aX-Injected: yes"',
        "wait=1\tX-Injected",
        "\x7f",
        "é",
        "\u2028",
        " " * 500,
    )
    for value in odd:
        sent = value.encode("utf-8").decode("latin-1")
        for name in ("X-Request-ID", "Idempotency-Key", "Prefer", "Last-Event-ID", "If-None-Match", "Accept", "Cookie"):
            for method, path in (("POST", "/jobs/noop"), ("GET", f"/jobs/{UNKNOWN}"), ("GET", "/metrics")):
                reply = send(server, method, path, [(name, sent)], b"{}" if method == "POST" else None)
                assert reply.status < 500
                assert "X-Injected" not in reply.headers
                assert re.fullmatch(r"[ -~]{1,128}", reply.headers["X-Request-ID"])


def test_what_a_handler_says_stays_text_wherever_it_is_shown(server: ServerProcess) -> None:
    job_id = server.submit("says", {"text": ODD_TEXT})
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        frames = list(stream.frames())
    assert all(re.fullmatch(rb"(?:(?:event|id|data): [^\r\n]*\n)+\n", frame) for frame in frames)
    assert {frame.split(b"\n")[0] for frame in frames if not is_state(frame)} == {b"event: log"}
    clean = ODD_TEXT.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd").replace("\x1b[31m", "")
    (line,) = (data_of(frame) for frame in frames if not is_state(frame))
    assert line["message"] == clean
    reply = send(server, "GET", f"/jobs/{job_id}")
    assert reply.headers["Content-Type"] == "application/json"
    assert "X-Injected" not in reply.headers
    assert reply.json["result"] == ODD_TEXT


def test_a_job_error_is_text_wherever_it_is_shown(server: ServerProcess) -> None:
    job_id = server.submit("raises-text", {"text": ODD_TEXT})
    job = server.wait_for(job_id)
    assert job["error"]["title"].startswith("a X-Injected")
    for path in (f"/jobs/{job_id}/result", f"/operations/{job_id}", f"/v1/jobs/operations/{job_id}"):
        reply = send(server, "GET", path)
        assert reply.status < 500
        assert reply.headers["Content-Type"].startswith(("application/json", "application/problem+json"))
        assert "X-Injected" not in reply.headers
        json.loads(reply.body)


def test_the_log_has_a_line_for_each_event_whatever_was_sent(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_ACCESS_LOG": "true", "HEADWAY_LOG_FORMAT": "json"})
    for value in ("%0a%0dforged", "a%1b[31m"):
        send(server, "GET", f"/jobs/{value}", [("X-Request-ID", "a\x1b[31m"), ("User-Agent", "x\ty")])
    job_id = server.submit("raises-text", {"text": "a\nforged=1"})
    server.wait_for(job_id)
    server.request("GET", "/healthz")
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert not any(line["event"].startswith("forged") for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/x",
        "/etc/passwd",
        "..\\..\\x",
        "a\0.txt",
        "con",
        "x" * 5_000,
        "",
        ".",
        "..",
        "\u202etxt.exe",
    ],
)
def test_an_uploads_name_is_never_a_path(serving: Serving, tmp_path: Path, name: str) -> None:
    server = serving(tmp_path / "data")
    body = form(part("document", b"hello", name.replace("\0", "%00").replace("\\", "\\\\")))
    reply = send(server, "POST", "/jobs/reads-upload", FORM, body)
    assert reply.status in (202, 400, 422)
    files = {str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*") if path.is_file()}
    own = {"headway.db", "headway.db-wal", "headway.db-shm", "headway.lock"}
    if reply.status == 202:  # its process may have begun
        own |= {f"jobs/{reply.json['jobId']}/inputs/document", f"locks/{reply.json['jobId']}"}
    assert files <= own
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_links_that_a_handler_makes_lead_nowhere(serving: Serving, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("nobody's business")
    server = serving(tmp_path / "data")
    job = server.wait_for(server.submit("links-outside", {"text": str(secret)}))
    assert [file["name"] for file in job["files"]] == ["plain.txt"]
    for name in ("symbolic.txt", "hard.txt", "folder", "folder%2fsecret.txt", "..%2f..%2f..%2fsecret.txt"):
        assert_problem(send(server, "GET", f"/jobs/{job['jobId']}/files/{name}"), 404, "not-found")
    logged = server.request("GET", f"/jobs/{job['jobId']}/logs").json["lines"]
    assert sum("not available for download" in line["message"] for line in logged) == 3


# Slow


def test_a_slow_body_and_a_slow_head_delay_nobody(serving: Serving) -> None:
    limits = {"HEADWAY_HEAD_TIMEOUT_S": "0.5", "HEADWAY_BODY_TIMEOUT_S": "0.5"}
    server = serving(":memory:", env=limits)
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) for _ in range(60)]
    try:
        for place, connection in enumerate(slow):
            head = request_bytes("POST", "/jobs/noop", [*JSON, ("Content-Length", "1000")])
            connection.sendall(head[:30] if place % 2 else head + b"{")
        began_s = time.monotonic()
        assert server.wait_for(server.submit("noop"))["status"] == "completed"
        assert time.monotonic() - began_s < WAIT_TIMEOUT_S / 2
        assert [statuses(read_to_end(connection)) for connection in slow] == [[408]] * 60
    finally:
        for connection in slow:
            connection.close()
