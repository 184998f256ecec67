"""The contract's table of bad input, and odder cases: always a problem, never a 500, nothing left behind."""

import gzip
import json
import re
import socket
import struct
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.process import ServerProcess, eventually
from tests.support.raw import FORM, JSON, RawReply, assert_problem, exchange, form, part, request_bytes, send
from tests.support.serving import LATER, Serving

DOCUMENT = part("document", b"hello", "a.txt")
MIB = 1024 * 1024

REFUSED_URLS = (
    *(
        "http://127.0.0.1:8080/",
        "http://localhost/x",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://10.0.0.1",
    ),
    *("http://2130706433/", "ftp://example.com/", "https://user:word@example.com/", "example.com", ""),
)
"""Of webhooks: the server's own machine and network, and what is no plain URL."""


def post(server: ServerProcess, body: bytes, path: str = "/jobs/steps-async", headers: object = JSON) -> RawReply:
    return send(server, "POST", path, headers, body)  # type: ignore[arg-type]


def as_input_part(body: bytes) -> bytes:
    return form(DOCUMENT, part("input", body))


# 400: what cannot be read

MALFORMED = {
    "nothing": b"",
    "white space": b" \n ",
    "half an object": b'{"steps": 1',
    "two values": b"{} {}",
    "a trailing comma": b'{"steps": 1,}',
    "single quotes": b"{'steps': 1}",
    "a comment": b"{} // why",
    "a word": b"undefined",
    "a leading zero": b'{"steps": 01}',
    "a control character in a string": b'{"steps": "\x01"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "bad UTF-8": b'{"steps": "\xff"}',
    "overlong UTF-8": b'{"steps": "\xc0\xaf"}',
    "a surrogate as UTF-8": b'{"steps": "\xed\xa0\x80"}',
    "UTF-16": "{}".encode("utf-16"),
    "half a surrogate pair": b'{"steps": "\\ud800"}',
    "half a surrogate pair as a name": b'{"\\udfff": 1}',
    "malformed after NaN": b'{"steps": NaN',
    "malformed after a big integer": b'{"steps": 9223372036854775808,}',
    "malformed after a repeated name": b'{"steps": 1, "steps": 2} x',
    "33 levels of nothing": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "33 levels": b'{"a":' + b"[" * 32 + b"1" + b"]" * 32 + b"}",
    "2,000 levels": b"[" * 2_000 + b"]" * 2_000,
    "300,000 levels": b"[" * 300_000 + b"]" * 300_000,
    "a million opening brackets": b"[" * 1_000_000,
    "a deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_a_400(server: ServerProcess, body: bytes) -> None:
    for path in ("/jobs/steps-async", "/jobs"):
        assert_problem(post(server, body, path), 400, "malformed-request")
    for path in ("/jobs/reads-upload", "/jobs"):
        assert_problem(post(server, as_input_part(body), path, FORM), 400, "malformed-request")


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "utf-8x", "", "\xff"])
def test_another_charset_is_a_400(server: ServerProcess, charset: str) -> None:
    if charset:
        headers = [("Content-Type", f"application/json; charset={charset}")]
        assert_problem(post(server, b"{}", headers=headers), 400, "malformed-request")
        document = part("document", b"hello", "a.txt")
        given = f"Content-Type: application/json; charset={charset}"
        body = form(document, part("input", b"{}", None, given).replace("\xff".encode(), b"\xff"))
        assert_problem(post(server, body, "/jobs/reads-upload", FORM), 400, "malformed-request")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii"])
def test_utf_8_by_any_name_is_read(server: ServerProcess, charset: str) -> None:
    headers = [("Content-Type", f"application/json; charset={charset}")]
    assert post(server, b"{}", headers=headers).status == 202


def test_thirty_two_levels_are_read(server: ServerProcess) -> None:
    body = b'{"a":' + b"[" * 31 + b"1" + b"]" * 31 + b"}"
    assert_problem(post(server, body), 422, "validation-failed", "/a")


BAD_FORMS = {
    "nothing": b"",
    "another boundary": form(DOCUMENT).replace(b"b-o-u-n-d", b"x-o-u-n-d"),
    "no end": form(DOCUMENT)[:-4],
    "half a part": form(DOCUMENT)[:-30],
    "half a header": form(DOCUMENT)[:40],
    "no headers": form(b"\r\nhello"),
    "no name": form(b"Content-Disposition: form-data\r\n\r\nhello"),
    "an empty name": form(part("", b"hello", "a.txt")),
    "no disposition": form(b"Content-Type: text/plain\r\n\r\nhello"),
    "parts in a part": form(part("document", b"--x--", "a.txt", "Content-Type: multipart/mixed; boundary=x")),
    "500 headers": form(part("document", b"hello", "a.txt", *["X: y"] * 500)),
    "line feeds alone": form(DOCUMENT).replace(b"\r\n", b"\n"),
    "noise": bytes(range(256)) * 40,
    "a control character in a header": form(part("document", b"hello", "a.txt", "Content-Type: a\x01b")),
}


@pytest.mark.parametrize("body", BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_malformed_form_is_a_400(server: ServerProcess, body: bytes) -> None:
    for path in ("/jobs/reads-upload", "/jobs"):
        problem = assert_problem(post(server, body, path, FORM), 400, "malformed-request")
        assert "\n" not in problem["detail"]


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'x' * 200}", '; boundary="\xe9"'])
def test_a_form_without_a_usable_boundary_is_a_400(server: ServerProcess, boundary: str) -> None:
    headers = [("Content-Type", f"multipart/form-data{boundary}")]
    assert_problem(post(server, form(DOCUMENT), "/jobs/reads-upload", headers), 400, "malformed-request")


def test_a_text_part_that_is_not_utf_8_is_a_400(server: ServerProcess) -> None:
    body = form(part("type", b"reads-upload"), part("label", b"\xff"), DOCUMENT)
    assert_problem(post(server, body, "/jobs", FORM), 400, "malformed-request")


@pytest.mark.parametrize("query", ["label=%ff", "label=%ed%a0%80", "%c0%af=1"])
def test_a_query_that_is_not_utf_8_is_a_400(server: ServerProcess, query: str) -> None:
    assert_problem(post(server, b"{}", f"/jobs/noop?{query}"), 400, "malformed-request")
    for path in ("/jobs", "/jobs/progress", "/jobs/stats"):
        assert_problem(send(server, "GET", f"{path}?{query}"), 400, "malformed-request")


# 422: well-formed, but not valid

NOT_VALID = {
    b'{"steps": NaN}': "/steps",
    b'{"steps": Infinity}': "/steps",
    b'{"steps": -Infinity}': "/steps",
    b'{"steps": 1e999}': "/steps",
    b'{"steps": -1e999}': "/steps",
    b'{"steps": 9223372036854775808}': "/steps",
    b'{"steps": -9223372036854775809}': "/steps",
    b'{"steps": 123456789012345678901234567890}': "/steps",
    b'{"steps": ' + b"1" * 5_000 + b"}": "/steps",
    b'{"a": [0, {"b~/c": [[NaN]]}]}': "/a/1/b~0~1c/0/0",
    b'{"steps": 1, "steps": 1}': "",
    b'{"a": {"b": 1, "b": 2}}': "/a",
    b'{"steps": -9223372036854775808}': "/steps",
    b'{"steps": 1.5}': "/steps",
    b'{"steps": 1e30}': "/steps",
    b'{"steps": "many"}': "/steps",
    b'{"steps": null}': "/steps",
    b'{"steps": [1]}': "/steps",
    b'{"steps": -1}': "/steps",
    b'{"surprise": 1}': "/surprise",
    b'{"a/b": 1}': "/a~1b",
    b'{"\\u0000": 1}': "/\0",
    b"[]": "",
    b'"text"': "",
    b"5": "",
    b"null": "",
    b"true": "",
}


@pytest.mark.parametrize(("body", "pointer"), NOT_VALID.items(), ids=[str(body[:40]) for body in NOT_VALID])
def test_what_is_not_valid_is_a_422_with_a_pointer(server: ServerProcess, body: bytes, pointer: str) -> None:
    assert_problem(post(server, body), 422, "validation-failed", pointer)
    enveloped = b'{"type": "steps-async", "input": %s}' % body
    assert_problem(post(server, enveloped, "/jobs"), 422, "validation-failed", f"/input{pointer}")


def test_a_large_body_is_checked_like_a_small_one(server: ServerProcess) -> None:
    """It is parsed in a thread."""
    filler = b"[" + b"1, " * 50_000 + b"1]"
    assert post(server, b'{"steps": 1' + b" " * 100_000 + b"}").status == 202
    assert_problem(post(server, b'{"a": %s, "b": [NaN]}' % filler), 422, "validation-failed", "/b/0")
    assert_problem(post(server, b'{"a": %s' % filler), 400, "malformed-request")
    assert_problem(post(server, form(DOCUMENT, part("input", filler)), "/jobs/reads-upload", FORM), 422,
                   "validation-failed", "")  # fmt: skip


def test_the_response_to_very_many_errors_is_short(server: ServerProcess) -> None:
    for count, told in ((1_000, 50), (80_000, 1)):
        reply = post(server, json.dumps({f"k{number}": 1 for number in range(count)}).encode())
        assert reply.status == 422
        assert len(reply.json["errors"]) == told
        assert len(reply.body) < 10_000


@pytest.mark.parametrize(
    ("number", "status"), [(2**63 - 1, 202), (2**63, 422), (-(2**63), 202), (-(2**63) - 1, 422), (10**18, 202)]
)
def test_integers_of_64_bits_are_kept_exactly(server: ServerProcess, number: int, status: int) -> None:
    reply = post(server, b'{"points": [{"x": %d}]}' % number, "/jobs/nested-input")
    assert reply.status == status
    if status == 202:
        job = server.wait_for(reply.json["jobId"])
        assert job["input"]["points"][0]["x"] == job["result"]["points"][0]["x"] == number


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("type", value) for value in (5, None, ["noop"])),
        *(("label", value) for value in (5, "x" * 201, "a\nb", "a\r\nX-Injected: yes", "\x00", "\x7f", "\x9b31m")),
        *(("priority", value) for value in ("5", True, 101, -101, 1.5, None)),
        *(("timeoutSeconds", value) for value in ("5", 0, -1, 1e10, True)),
        *(("retainSeconds", value) for value in ("5", -1, 1e10)),
        *(
            ("runAt", value)
            for value in (1_700_000_000, "1700000000", "tomorrow", "2026-01-01", "2026-13-01T00:00:00Z")
        ),
        ("runAt", "2026-01-01T00:00:00"),
        ("runAt", "9999-12-31T23:59:59-01:00"),
        ("runAt", "0001-01-01T00:00:00+01:00"),
        ("runAt", f"2026-01-01T00:00:00.{'1' * 10_000}Z"),
        *(("webhookUrl", value) for value in (*REFUSED_URLS, 5, f"https://example.com/{'x' * 2048}")),
        *(("webhookEvents", value) for value in ("job.completed", None, ["job.completed"])),
        ("idempotencyKey", "k"),
        ("run_at", "2026-01-01T00:00:00Z"),
        ("surprise", 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_envelope_is_strict(server: ServerProcess, field: str, value: object) -> None:
    envelope = json.dumps({"type": "noop", field: value}).encode()
    assert_problem(post(server, envelope, "/jobs"), 422, "validation-failed", f"/{field}")


@pytest.mark.parametrize(
    "option",
    [
        *("priority=x", "priority=101", "priority=1.5", "priority=", "timeoutSeconds=nan", "timeoutSeconds=inf"),
        *("timeoutSeconds=0", "timeoutSeconds=1e999", "retainSeconds=-1", "retainSeconds=1e99", "runAt=x"),
        *("runAt=1700000000", "runAt=9999-12-31T23:59:59-01:00", "runAt=0001-01-01T00:00:00%2B01:00"),
        *("label=%00", "label=a%0d%0aX-Injected:%20yes", f"label={'x' * 201}", "label=a&label=a"),
        *(f"webhookUrl={quote(url)}" for url in REFUSED_URLS),
        *("webhookEvents=job.completed", "idempotencyKey=k", "wait=5", "run_at=2026-01-01T00:00:00Z", "type=noop"),
    ],
)
def test_options_are_strict(server: ServerProcess, option: str) -> None:
    name = option.partition("=")[0]
    assert_problem(post(server, b"{}", f"/jobs/noop?{option}"), 422, "validation-failed", f"/{name}")


def test_an_envelope_takes_no_query(server: ServerProcess) -> None:
    assert_problem(post(server, b'{"type": "noop"}', "/jobs?label=x"), 422, "validation-failed", "/label")


def test_errors_do_not_repeat_what_was_sent(server: ServerProcess) -> None:
    reply = post(server, b'{"steps": "my secret"}')
    assert reply.status == 422
    assert b"secret" not in reply.body


# 404: what is not there

ODD_IDS = (
    *("%00", "a" * 8192, "a%2fb", "..", "%2e%2e", "..%2f..", "%ff", "%zz", "%ed%a0%80", "1", "null", "%20", "'--"),
    "01900000-0000-7000-8000-000000000000",
    "01900000-0000-7000-8000-00000000000A",
    "01900000-0000-4000-8000-000000000000",
    "01900000-0000-7000-0000-000000000000",
    "01900000000070008000000000000000",
    "{01900000-0000-7000-8000-000000000000}",
    "01900000-0000-7000-8000-000000000000%0a",
)


@pytest.mark.parametrize("job_id", ODD_IDS, ids=lambda value: value[:40])
def test_an_odd_id_is_a_404(server: ServerProcess, job_id: str) -> None:
    if job_id in ("..", "%2e%2e"):
        assert_problem(send(server, "GET", f"/jobs/{job_id}/jobs"), 404, "not-found")
        return
    for path in ("", "/logs", "/attempts", "/result", "/progress", "/files/x"):
        assert_problem(send(server, "GET", f"/jobs/{job_id}{path}"), 404, "not-found")
    assert_problem(send(server, "DELETE", f"/jobs/{job_id}"), 404, "not-found")
    assert_problem(send(server, "DELETE", f"/jobs/{job_id}?purge=true"), 404, "not-found")
    assert_problem(post(server, b"{}", f"/jobs/{job_id}"), 404, "not-found")


def test_an_upper_case_id_is_another_id(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    if job_id.upper() != job_id:
        assert_problem(send(server, "GET", f"/jobs/{job_id.upper()}"), 404, "not-found")


@pytest.mark.parametrize("name", ["", "nope", "NOOP", "noop ", "../noop", "noop\u0000", "x" * 5_000])
def test_an_unknown_type_in_an_envelope_is_a_404(server: ServerProcess, name: str) -> None:
    assert_problem(post(server, json.dumps({"type": name}).encode(), "/jobs"), 404, "not-found")


# 415 and 413

OTHER_TYPES = (
    *("text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x", "application"),
    *("application/problem+json", "application/octet-stream", "*/*", ";", "application/json/x"),
)


@pytest.mark.parametrize("path", ["/jobs", "/jobs/noop"])
@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_another_media_type_is_a_415(server: ServerProcess, path: str, content_type: str) -> None:
    reply = post(server, b"{}", path, [("Content-Type", content_type)])
    assert_problem(reply, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "parameter", ["a*", "a*0", "*", "a*=", "a*=utf-8", "a*1*=x", '"', 'a="\\', ";;", "=", "charset"]
)
def test_odd_parameters_of_a_media_type_are_no_mistake_of_ours(server: ServerProcess, parameter: str) -> None:
    assert post(server, b"{}", headers=[("Content-Type", f"application/json; {parameter}")]).status == 202
    reply = post(server, b"{}", headers=[("Content-Type", f"text/plain; {parameter}")])
    assert_problem(reply, 415, "unsupported-media-type")
    reply = post(server, form(DOCUMENT), "/jobs/reads-upload", [("Content-Type", f"multipart/form-data; {parameter}")])
    assert_problem(reply, 400, "malformed-request")


@pytest.mark.parametrize("path", ["/jobs", "/jobs/noop"])
def test_a_body_of_no_media_type_is_a_415(server: ServerProcess, path: str) -> None:
    assert_problem(post(server, b"{}", path, ()), 415, "unsupported-media-type")


@pytest.mark.parametrize("coding", ["compress", "rot13", "gzip, gzip", "identity, gzip"])
def test_a_coding_that_is_not_undone_is_a_415(server: ServerProcess, coding: str) -> None:
    for body, headers in ((b"{}", JSON), (form(DOCUMENT), FORM)):
        reply = post(server, body, "/jobs/reads-upload", [*headers, ("Content-Encoding", coding)])
        assert_problem(reply, 415, "unsupported-media-type")
        assert reply.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_a_compressed_body_is_read(server: ServerProcess, coding: str, compress: object) -> None:
    assert callable(compress)
    headers = [("Content-Encoding", coding)]
    assert post(server, compress(b'{"steps": 1}'), headers=[*JSON, *headers]).status == 202
    assert post(server, compress(form(DOCUMENT)), "/jobs/reads-upload", [*FORM, *headers]).status == 202


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "body",
    [b"{}", b"\x1f\x8b\x08\x00rubbish", gzip.compress(b"{}" * 999, mtime=0)[:25], b"\x78\x9cxx"],
    ids=["not at all", "a head and rubbish", "half of it", "rubbish"],
)
def test_a_body_that_is_not_compressed_as_it_says_is_a_400(server: ServerProcess, coding: str, body: bytes) -> None:
    reply = post(server, body, headers=[*JSON, ("Content-Encoding", coding)])
    assert reply.status == 400
    if reply.headers["Content-Type"].startswith("text/plain"):
        assert reply.body == b"deflate"  # the parser's own words for a stream that does not end
        return
    assert "\n" not in assert_problem(reply, 400, "malformed-request")["detail"]


BIG = b'{"a": "' + b"x" * (2 * MIB) + b'"}'


def test_too_big_a_body_is_a_413(server: ServerProcess) -> None:
    chunked = b"".join(b"10000\r\n" + BIG[:65536] + b"\r\n" for _ in range(32)) + b"0\r\n\r\n"
    for path in ("/jobs", "/jobs/noop"):
        assert_problem(post(server, BIG, path), 413, "too-large")
        reply = post(server, chunked, path, [*JSON, ("Transfer-Encoding", "chunked")])
        assert_problem(reply, 413, "too-large")


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_bomb_is_measured_decompressed(server: ServerProcess, coding: str, compress: object) -> None:
    assert callable(compress)
    bomb = compress(b" " * (100 * MIB))
    assert len(bomb) < MIB // 2
    assert_problem(post(server, bomb, headers=[*JSON, ("Content-Encoding", coding)]), 413, "too-large")


def test_the_limit_itself_is_accepted(server: ServerProcess) -> None:
    body = b"{}" + b" " * (MIB - 2)
    assert post(server, body, "/jobs/noop").status == 202
    assert_problem(post(server, body + b" ", "/jobs/noop"), 413, "too-large")


def test_a_chunked_body_needs_no_length(server: ServerProcess) -> None:
    reply = post(server, b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", "/jobs/noop", [*JSON, ("Transfer-Encoding", "chunked")])
    assert reply.status == 202


def test_the_texts_of_a_form_share_one_limit(server: ServerProcess) -> None:
    texts = [part(f"text{number}", b"x" * (300 * 1024)) for number in range(4)]
    assert_problem(post(server, form(*texts), "/jobs", FORM), 413, "too-large")


def test_a_hundred_parts_are_read_and_no_more(server: ServerProcess) -> None:
    texts = [part(f"text{number}", b"x") for number in range(100)]
    assert_problem(post(server, form(*texts, DOCUMENT), "/jobs/reads-upload", FORM), 413, "too-large")
    assert post(server, form(*texts), "/jobs/reads-upload", FORM).status == 422


def test_too_big_an_upload_is_a_413_and_leaves_nothing(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, env={"HEADWAY_MAX_UPLOAD_BYTES": str(MIB)})
    cover = part("cover", b"y" * (MIB // 2), "b.txt")
    fits = part("document", b"x" * (MIB // 2), "a.txt")
    assert post(server, form(fits, cover), "/jobs/reads-upload", FORM).status == 202
    too_big = part("document", b"x" * (MIB // 2 + 1), "a.txt")
    assert_problem(post(server, form(too_big, cover), "/jobs/reads-upload", FORM), 413, "too-large")
    bomb = gzip.compress(form(part("document", b"x" * (20 * MIB), "a.txt")))
    reply = post(server, bomb, "/jobs/reads-upload", [*FORM, ("Content-Encoding", "gzip")])
    assert_problem(reply, 413, "too-large")
    assert_nothing_left(server, tmp_path, jobs=1)


# Odd requests


def test_expect_is_met_or_refused(server: ServerProcess) -> None:
    head = request_bytes("POST", "/jobs/noop", [*JSON, ("Expect", "100-continue")], b"{}")[:-2]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 202 ")
    reply = post(server, b"{}", "/jobs/noop", [*JSON, ("Expect", "a miracle")])
    assert_problem(reply, 417, "expectation-failed")


def test_a_body_with_get_is_ignored(server: ServerProcess) -> None:
    for body in (b"{}", b"\xff" * 1000):
        assert send(server, "GET", "/jobs", JSON, body).status == 200


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {'x' * 100_000}\r\n\r\n",
        f"GET /jobs/{'x' * 100_000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        "GET /jobs/\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /jobs/noop HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\n\r\n{}",
        "POST /jobs/noop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "POST /jobs/noop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "BREW /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
    ids=lambda value: value[:20],
)
def test_what_the_parser_refuses_is_a_plain_400(server: ServerProcess, request_text: str) -> None:
    reply = exchange(server, request_text.encode("latin-1"))
    assert reply is None or reply.status == 400
    assert server.request("GET", "/healthz").status == 200


def test_a_head_of_many_kilobytes_is_read(server: ServerProcess) -> None:
    assert send(server, "GET", "/healthz", [(f"X-Long-{n}", "x" * 7_500) for n in range(4)]).status == 200
    assert send(server, "GET", "/healthz", [("X-Long", "x" * 30_000)]).status == 400, "a header has at most 8 KiB"


# Bodies that break off


def broken_upload(server: ServerProcess) -> socket.socket:
    """A connection on which an upload has begun: its first bytes stand in `incoming`."""
    head = request_bytes("POST", "/jobs/reads-upload", [*FORM, ("Content-Length", "10000000")])
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(head + form(part("document", b"x" * (3 * MIB), "a.txt"))[:-30])
    return connection


def incoming(folder: Path) -> list[Path]:
    return list((folder / "incoming").iterdir())


def assert_nothing_left(server: ServerProcess, folder: Path, *, jobs: int = 0) -> None:
    eventually(lambda: not incoming(folder), "something was left in incoming")
    assert len(list((folder / "jobs").iterdir())) == jobs
    assert server.request("GET", "/jobs/stats").json["total"] == jobs


@pytest.mark.parametrize("how", ["close", "reset", "half close"])
def test_a_client_that_disconnects_during_an_upload_leaves_nothing(serving: Serving, tmp_path: Path, how: str) -> None:
    server = serving(tmp_path)
    connection = broken_upload(server)
    eventually(lambda: any((path / "document").exists() for path in incoming(tmp_path)))
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half close":
        connection.shutdown(socket.SHUT_WR)
        assert not connection.recv(1000).startswith(b"HTTP/1.1 2")
    connection.close()
    assert_nothing_left(server, tmp_path)


def test_an_upload_that_is_not_valid_leaves_nothing(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    for parts in ((DOCUMENT, DOCUMENT), (DOCUMENT, part("input", b"{")), (DOCUMENT, part("x", b"", "x"))):
        assert post(server, form(*parts), "/jobs/reads-upload", FORM).status in (400, 422)
        assert post(server, form(*parts), "/jobs", FORM).status in (400, 422)
    assert_nothing_left(server, tmp_path)


def test_a_truncated_body_creates_no_job(serving: Serving) -> None:
    server = serving()
    request = request_bytes("POST", "/jobs/noop", [*JSON, ("Content-Length", "100")]) + b"{}"
    reply = exchange(server, request, half_close=True)
    assert reply is None or reply.status == 400
    chunked = request_bytes("POST", "/jobs/noop", [*JSON, ("Transfer-Encoding", "chunked")]) + b"2\r\n{}\r\n"
    reply = exchange(server, chunked, half_close=True)
    assert reply is None or reply.status == 400
    assert server.request("GET", "/jobs/stats").json["total"] == 0


# Text from outside ends up in JSON alone


def test_a_file_name_cannot_inject_anything(server: ServerProcess) -> None:
    head = (
        b"Content-Disposition: form-data; name=\"document\"; filename*=UTF-8''a%0d%0aX-Injected%3A%20yes%00.txt\r\n"
        b"Content-Type: text/plain; x=\xc3\xa4\r\n\r\n"
    )
    reply = post(server, form(head + b"hello"), "/jobs/reads-upload", FORM)
    assert reply.status == 202
    assert "X-Injected" not in reply.headers
    job = server.wait_for(reply.json["jobId"])
    assert job["input"]["document"]["name"] == "a X-Injected: yes\ufffd.txt"


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "\u2028\u2029", "😀" * 100, "data: x", "", " "])
def test_a_label_is_text_and_nothing_else(server: ServerProcess, label: str) -> None:
    reply = post(server, json.dumps({"type": "noop", "label": label}).encode(), "/jobs")
    assert (reply.status, reply.json["label"]) == (202, label)
    job_id = reply.json["jobId"]
    assert {state["label"] for state in server.states(job_id)} == {label}
    assert re.fullmatch(r"/jobs/[0-9a-f-]{36}", reply.headers["Location"])


@pytest.mark.parametrize("text", ["a\r\n\r\ndata: {}", "\u2028", "\x00", "\udcff".encode("utf-8", "replace").decode()])
def test_what_a_handler_says_cannot_break_the_stream(server: ServerProcess, text: str) -> None:
    job_id = server.submit("says", {"text": text})
    events = list(server.events(f"/jobs/{job_id}/progress"))
    assert {event.name for event in events} <= {None, "log"}
    assert events[-1].data["status"] == "completed"
    logged = [event.data["message"] for event in events if event.name == "log"]
    assert logged == [text.replace("\r\n", "\n").replace("\x00", "\ufffd")]
