"""Security headers: of every route, every kind of error, streams, files and the page."""

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from headway.app import opened
from headway.authoring.loading import load_job_types
from headway.settings import Settings

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import JSON, RawReply, RawStream, exchange, parse, request_bytes, send
from tests.support.serving import UNKNOWN

JOBS = Path(__file__).parents[2] / "fuzz" / "jobs_to_fuzz.py"
DATA = "default-src 'none'; frame-ancestors 'none'"


def assert_hardened(headers: Mapping[str, str]) -> None:
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "Headway"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert not any(part.strip().startswith("script-src") and "unsafe" in part for part in policy.split(";"))


async def test_every_route_and_method_is_hardened(tmp_path: Path) -> None:
    """Whatever it answers; all of the application's routes, those of tomorrow included."""
    registry = load_job_types([str(JOBS)])
    settings = Settings(data_dir=str(tmp_path / "data"))
    asked = 0
    async with opened(settings, registry) as rooms, TestClient(TestServer(rooms.app)) as client:
        for path in sorted({resource.canonical for resource in rooms.app.router.resources()}):
            url = path.replace("{id}", UNKNOWN).replace("{name}", "x").replace("{path}", "app.js").replace("{key}", "x")
            for method in ("GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "TRACE"):
                for body in (None, b"{}", b"{"):
                    headers = {} if body is None else {"Content-Type": "application/json"}
                    async with client.request(method, url, data=body, headers=headers) as reply:
                        assert reply.status in (*range(200, 500), 503), (method, url)
                        assert_hardened(reply.headers)
                        asked += 1
        rooms.hub.close()
    assert asked > 500


@pytest.fixture(scope="module")
def job(server: ServerProcess) -> str:
    job_id = server.submit("writes-files", {"text": "<script>alert(1)</script>"})
    server.wait_for(job_id)
    return job_id


def replies(server: ServerProcess, job: str) -> Iterator[tuple[str, RawReply]]:
    for path in ("/", "/docs", "/static/app.js", "/healthz", f"/jobs/{job}", f"/jobs/{job}/result", "/nowhere"):
        yield path, send(server, "GET", path)
    kept = request_bytes("GET", f"/jobs/{job}").replace(b"Connection: close\r\n", b"")
    etag = send(server, "GET", f"/jobs/{job}").headers["ETag"]
    for name, request in {
        "a ready answer": kept,
        "a ready 304": kept.replace(b"\r\n\r\n", f"\r\nIf-None-Match: {etag}\r\n\r\n".encode()),
        "a ready 202": request_bytes("POST", "/jobs/noop", JSON, b"{}").replace(b"Connection: close\r\n", b""),
    }.items():
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
            connection.sendall(request)
            yield name, parse(connection.recv(65536))
    file = next(file["url"] for file in server.job(job)["files"])
    for name, path, headers in (
        ("a file", file, ()),
        ("a file, shown", f"{file}?inline=true", ()),
        ("a range", file, (("Range", "bytes=0-1"),)),
        ("no range", file, (("Range", "bytes=999999-"),)),
        ("a file that is held", file, (("If-None-Match", "*"),)),
        ("a file that changed", file, (("If-Match", '"x"'),)),
        ("a 417", "/healthz", (("Expect", "more"),)),
    ):
        yield name, send(server, "GET", path, headers)
    for name, raw in {
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "two framings": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    }.items():
        reply = exchange(server, raw)
        assert reply is not None
        yield name, reply


def test_every_kind_of_response_is_hardened(server: ServerProcess, job: str) -> None:
    seen = set()
    for name, reply in replies(server, job):
        try:
            assert_hardened(reply.headers)
        except (AssertionError, KeyError) as missing:
            raise AssertionError(name) from missing
        seen.add(reply.status)
    assert {200, 202, 206, 304, 400, 404, 412, 416, 417} <= seen
    for path in (f"/jobs/{job}/progress", "/jobs/progress"):
        with RawStream(server, path) as stream:
            assert_hardened(stream.headers)


def test_pages_run_only_their_own_scripts_and_data_runs_none(server: ServerProcess, job: str) -> None:
    for path in ("/", "/docs"):
        policy = send(server, "GET", path).headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
    for path in ("/healthz", f"/jobs/{job}", "/nowhere", "/openapi.json"):
        assert send(server, "GET", path).headers["Content-Security-Policy"] == DATA


def test_a_jobs_output_never_runs_as_a_page_of_the_server(server: ServerProcess, job: str) -> None:
    for file in server.job(job)["files"]:
        saved, shown = (send(server, "GET", f"{file['url']}{query}") for query in ("", "?inline=true"))
        assert saved.headers["Content-Disposition"].startswith("attachment;")
        assert all(reply.headers["Content-Security-Policy"].startswith("sandbox;") for reply in (saved, shown))
    result = send(server, "GET", f"/jobs/{job}/result")
    assert result.headers["Content-Type"] == "application/json"
    json.loads(result.body)


def test_a_stream_that_is_refused_is_hardened_too(server: ServerProcess) -> None:
    reply = parse(server.raw(request_bytes("GET", f"/jobs/{UNKNOWN}/progress")))
    assert reply.status == 404
    assert_hardened(reply.headers)
