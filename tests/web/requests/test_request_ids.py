"""`X-Request-ID`: in, out, and in the log; and what the log must not hold."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.raw import JSON, exchange, form, part, read_to_end, request_bytes, send
from tests.support.serving import UNKNOWN, Serving

MADE = r"[0-9a-f]{8}-[0-9a-f]+"


def lines(server: ServerProcess) -> Iterator[Any]:
    """What the server logged as JSON."""
    for line in server.log().splitlines():
        if line.startswith("{"):
            yield json.loads(line)


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/jobs", "/jobs/stats", f"/jobs/{UNKNOWN}", "/nowhere", "/static/app.js", "/jobs?limit=x"]
)
def test_what_the_client_calls_a_request_comes_back(server: ServerProcess, path: str) -> None:
    assert send(server, "GET", path, [("X-Request-ID", "abc def/1")]).headers["X-Request-ID"] == "abc def/1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PROPFIND"])
def test_every_answer_has_an_id(server: ServerProcess, method: str) -> None:
    for path in ("/jobs", "/jobs/noop", "/nowhere", f"/jobs/{UNKNOWN}/progress"):
        assert re.fullmatch(MADE, send(server, method, path).headers["X-Request-ID"])


def test_a_refused_expectation_has_an_id_too(server: ServerProcess) -> None:
    reply = send(server, "GET", "/jobs", [("Expect", "the unexpected"), ("X-Request-ID", "mine")])
    assert (reply.status, reply.headers["X-Request-ID"]) == (417, "mine")


def test_what_the_parser_refuses_is_neither_counted_nor_logged_as_an_error(server: ServerProcess) -> None:
    """A kept connection serves one request after the other: the second here has no route to be counted under."""
    polite = b"GET /healthz HTTP/1.1\r\nHost: one.localhost\r\n\r\n"
    refused = b"GET /healthz HTTP/1.1\r\nHost: one.localhost\r\nHost: two.localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(polite)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(refused)
        assert read_to_end(connection).split()[1] == b"400"
    assert "Unhandled exception" not in server.log()


def test_no_two_requests_have_the_same_id(server: ServerProcess) -> None:
    ids = {send(server, "GET", "/healthz").headers["X-Request-ID"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize("given", ["", "x" * 129, "tab\there", "umlaut-\xe4"])
def test_an_odd_id_is_replaced(server: ServerProcess, given: str) -> None:
    reply = exchange(server, request_bytes("GET", "/healthz", [("X-Request-ID", given)]))
    assert reply is not None
    assert re.fullmatch(MADE, reply.headers["X-Request-ID"])


def test_the_longest_id_comes_back(server: ServerProcess) -> None:
    assert send(server, "GET", "/healthz", [("X-Request-ID", "x" * 128)]).headers["X-Request-ID"] == "x" * 128


def test_a_stream_has_an_id(server: ServerProcess) -> None:
    job_id = server.submit("noop")
    server.wait_for(job_id)
    reply = send(server, "GET", f"/jobs/{job_id}/progress", [("X-Request-ID", "stream")])
    assert (reply.status, reply.headers["X-Request-ID"]) == (200, "stream")


def test_the_access_log_has_ids_and_paths_but_no_queries_headers_or_bodies(serving: Serving) -> None:
    server = serving(":memory:", "--log-format", "json", env={"HEADWAY_ACCESS_LOG": "true"})
    headers = [("X-Request-ID", "submit-1"), ("Authorization", "Basic hush-header"), *JSON]
    send(server, "POST", "/jobs/says?label=hush-label", headers, b'{"text": "hush-body"}')
    send(server, "POST", "/jobs/says", headers, b'{"text": "hush-body", "more": "hush-invalid"')
    send(server, "POST", "/jobs/says", [("Content-Type", "multipart/form-data; boundary=b-o-u-n-d-a-r-y")],
         form(part("file", b"hush-file", "hush-name.txt")))  # fmt: skip
    send(server, "GET", "/jobs?cursor=hush-cursor&%zz")
    send(server, "GET", "/nowhere?token=hush-token", [("Cookie", "hush=cookie")])
    logged = eventually(lambda: len(found := [x for x in lines(server) if x["event"] == "request"]) == 5 and found)
    assert [(line["method"], line["path"], line["status"]) for line in logged] == [
        ("POST", "/jobs/says", 202),
        ("POST", "/jobs/says", 400),
        ("POST", "/jobs/says", 422),
        ("GET", "/jobs", 422),
        ("GET", "/nowhere", 404),
    ]
    assert [line["request_id"] for line in logged[:2]] == ["submit-1", "submit-1"]
    assert all(re.fullmatch(MADE, line["request_id"]) for line in logged[2:])
    assert all(0 <= line["took_s"] < 60 for line in logged)
    assert "hush" not in server.log()


def test_polls_are_not_logged_unless_the_operator_wants_it(serving: Serving) -> None:
    server = serving(":memory:", "--log-format", "json")
    job_id = server.submit("noop")
    server.wait_for(job_id)
    eventually(lambda: any(line["event"] == "attempt ended" for line in lines(server)))
    assert not [line for line in lines(server) if line["event"] == "request"]


def test_what_a_job_says_in_the_servers_log_has_its_id(serving: Serving) -> None:
    server = serving(":memory:", "--log-format", "json")
    ids = {
        server.submit("noop"),
        server.submit("raises-async", {"text": "x"}),
        server.submit("writes-files", {"text": ""}),
    }
    for job_id in ids:
        server.wait_for(job_id)
    ended = eventually(lambda: len(found := [x for x in lines(server) if x["event"] == "attempt ended"]) == 3 and found)
    assert {line["job_id"] for line in ended} == ids
    assert {line["attempt"] for line in ended} == {1}
    raised = next(line for line in lines(server) if line["event"] == "the handler raised")
    assert raised["job_id"] in ids
