"""`GET /jobs/{id}/files/{name}`: downloads, ranges, conditions, and what must not be reached."""

import email.policy
import http.client
from typing import Any

import pytest
from headway.web.responses.ranges import MAX_RANGES

from tests.support.process import ServerProcess
from tests.support.raw import RawReply, assert_problem, send
from tests.support.serving import Serving

CSV = b"a,b\n1,2\n"
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


@pytest.fixture(scope="module")
def job(server: ServerProcess) -> Any:
    return server.wait_for(server.submit("writes-files", {"text": "Grüße"}))


@pytest.fixture(scope="module")
def odd_job(server: ServerProcess) -> Any:
    return server.wait_for(server.submit("odd-files"))


@pytest.fixture(scope="module")
def csv_url(job: Any) -> str:
    return f"/jobs/{job['jobId']}/files/data.csv"


def test_a_job_lists_its_plain_files_alone(server: ServerProcess, job: Any) -> None:
    assert [file["name"] for file in job["files"]] == ["Grüße & more.txt", "data.csv", "data.csv.gz", "report.html"]
    for file in job["files"]:
        reply = server.request("GET", file["url"])
        assert (reply.status, len(reply.body)) == (200, file["sizeBytes"])
        assert reply.headers["Content-Type"] == file["contentType"]


def test_a_download_has_exactly_these_headers(server: ServerProcess, csv_url: str) -> None:
    reply = send(server, "GET", csv_url)
    assert (reply.status, reply.body) == (200, CSV)
    volatile = {"Date", "Etag", "Last-Modified", "X-Request-ID"}
    assert {name: value for name, value in reply.headers.items() if name not in volatile} == {
        "Content-Type": "text/csv",
        "Content-Length": "8",
        "Content-Disposition": "attachment; filename=\"data.csv\"; filename*=UTF-8''data.csv",
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "Referrer-Policy": "no-referrer",
        "Server": "Headway",
        "Connection": "close",
    }
    assert reply.headers["Etag"].startswith('"')


def test_head_returns_size_and_etag(server: ServerProcess, csv_url: str) -> None:
    get, head = send(server, "GET", csv_url), send(server, "HEAD", csv_url)
    assert (head.status, head.body) == (200, b"")
    own = {"Date": "", "X-Request-ID": ""}  # each answer's
    assert head.headers | own == get.headers | own
    ranged = send(server, "HEAD", csv_url, [("Range", "bytes=0-1")])
    assert (ranged.status, ranged.headers["Content-Length"]) == (200, "8")


def test_inline_shows_a_page_without_any_power(server: ServerProcess, job: Any) -> None:
    reply = server.request("GET", f"/jobs/{job['jobId']}/files/report.html?inline=true")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
    assert reply.headers["Content-Disposition"].startswith("inline;")
    assert reply.headers["Content-Security-Policy"] == SANDBOX
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("given", "content_range", "body"),
    [
        ("bytes=0-2", "bytes 0-2/8", CSV[:3]),
        ("bytes=2-", "bytes 2-7/8", CSV[2:]),
        ("bytes=-3", "bytes 5-7/8", CSV[-3:]),
        ("bytes=-99", "bytes 0-7/8", CSV),
        ("bytes=7-7", "bytes 7-7/8", CSV[7:]),
        ("bytes=6-999999999999999999", "bytes 6-7/8", CSV[6:]),
        ("BYTES=0-0", "bytes 0-0/8", CSV[:1]),
        ("bytes=0-1,3-4", "bytes 0-4/8", CSV[:5]),
        ("bytes=5-6 , -8,0-", "bytes 0-7/8", CSV),
        ("bytes=100-200,2-2,8-", "bytes 2-2/8", CSV[2:3]),
    ],
)
def test_a_range_is_a_206(server: ServerProcess, csv_url: str, given: str, content_range: str, body: bytes) -> None:
    reply = send(server, "GET", csv_url, [("Range", given)])
    assert (reply.status, reply.headers["Content-Range"], reply.body) == (206, content_range, body)
    assert reply.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    "given",
    [
        *("bytes=8-", "bytes=100-200", "bytes=5-2", "bytes=-0", "bytes=-", "bytes=", "bytes=a-b", "bytes=8-9,9-"),
        *("bytes=1", "bytes= 0-1", "bytes=--1", "bytes=-1-2", f"bytes={'9' * 5000}-"),
        *("bytes=0-1,", "bytes=0-1,5-2", "bytes=0-1;3-4", "bytes=0-1,-"),
    ],
)
def test_a_range_that_cannot_be_is_a_416(server: ServerProcess, csv_url: str, given: str) -> None:
    reply = send(server, "GET", csv_url, [("Range", given)])
    assert_problem(reply, 416, "range-not-satisfiable")
    assert reply.headers["Content-Range"] == "bytes */8"


def parts_of(reply: RawReply) -> list[tuple[str, bytes]]:
    """Each part's range and bytes, as the standard library reads the message."""
    head = f"Content-Type: {reply.headers['Content-Type']}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + reply.body, policy=email.policy.HTTP)
    found = list(message.iter_parts())
    assert all(part.get_content_type() == "text/javascript" for part in found)
    return [(part["Content-Range"], part.get_payload(decode=True)) for part in found]


def test_several_ranges_are_one_response_with_a_part_each(server: ServerProcess) -> None:
    whole = send(server, "GET", "/static/app.js")
    size = len(whole.body)
    for given, spans in (
        ("0-9,500-599", [(0, 10), (500, 600)]),
        ("-20, 1000-1009 ,0-0", [(size - 20, size), (1000, 1010), (0, 1)]),
        ("900-999,0-9,950-1049,1100-1199", [(0, 10), (900, 1200)]),
        (f"0-0,{size}-,200-{size * 9}", [(0, 1), (200, size)]),
    ):
        reply = send(server, "GET", "/static/app.js", [("Range", f"bytes={given}")])
        assert (reply.status, int(reply.headers["Content-Length"])) == (206, len(reply.body))
        assert (reply.headers["Etag"], reply.headers["Accept-Ranges"]) == (whole.headers["Etag"], "bytes")
        assert reply.headers["Last-Modified"] == whole.headers["Last-Modified"]
        assert "Content-Range" not in reply.headers
        expected = [(f"bytes {first}-{end - 1}/{size}", whole.body[first:end]) for first, end in spans]
        assert parts_of(reply) == expected


def test_ranges_that_would_send_more_than_the_file_are_one_and_too_many_are_refused(server: ServerProcess) -> None:
    size = len(send(server, "GET", "/static/app.js").body)
    again = send(server, "GET", "/static/app.js", [("Range", "bytes=" + ",".join(["0-"] * MAX_RANGES))])
    assert (again.status, again.headers["Content-Range"]) == (206, f"bytes 0-{size - 1}/{size}")
    many = ",".join(f"{place}-{place}" for place in range(0, 100 * MAX_RANGES + 100, 100))
    refused = send(server, "GET", "/static/app.js", [("Range", f"bytes={many}")])
    assert_problem(refused, 416, "range-not-satisfiable")


def test_a_unit_that_nobody_knows_is_ignored(server: ServerProcess, csv_url: str) -> None:
    reply = send(server, "GET", csv_url, [("Range", "lines=0-1")])
    assert (reply.status, reply.body) == (200, CSV)


@pytest.mark.parametrize("condition", ["{etag}", "W/{etag}", '"x", {etag}', "*"])
def test_a_file_that_the_client_has_is_a_304(server: ServerProcess, csv_url: str, condition: str) -> None:
    etag = send(server, "HEAD", csv_url).headers["Etag"]
    held = ("If-None-Match", condition.format(etag=etag))
    reply = send(server, "GET", csv_url, [held])
    assert (reply.status, reply.body, reply.headers["Etag"]) == (304, b"", etag)
    assert send(server, "GET", csv_url, [held, ("Range", "bytes=100-")]).status == 304


def test_other_conditions_hold_too(server: ServerProcess, csv_url: str) -> None:
    head = send(server, "HEAD", csv_url).headers
    etag, modified = head["Etag"], head["Last-Modified"]
    long_ago = "Mon, 01 Jan 2001 00:00:00 GMT"
    assert send(server, "GET", csv_url, [("If-None-Match", '"x"')]).status == 200
    assert send(server, "GET", csv_url, [("If-Modified-Since", modified)]).status == 304
    assert send(server, "GET", csv_url, [("If-Match", etag)]).status == 200
    assert send(server, "GET", csv_url, [("If-Match", "*")]).status == 200
    assert_problem(send(server, "GET", csv_url, [("If-Match", '"x"')]), 412, "precondition-failed")
    assert_problem(send(server, "GET", csv_url, [("If-Match", "")]), 412, "precondition-failed")
    assert_problem(send(server, "GET", csv_url, [("If-Unmodified-Since", long_ago)]), 412, "precondition-failed")


@pytest.mark.parametrize(
    ("condition", "status"),
    [("{etag}", 206), ("{modified}", 206), ('"x"', 200), ("W/{etag}", 200), ("Mon, 01 Jan 2001 00:00:00 GMT", 200)],
)
def test_if_range_gives_the_whole_file_when_it_is_another(
    server: ServerProcess, csv_url: str, condition: str, status: int
) -> None:
    head = send(server, "HEAD", csv_url).headers
    held = condition.format(etag=head["Etag"], modified=head["Last-Modified"])
    reply = send(server, "GET", csv_url, [("Range", "bytes=0-2"), ("If-Range", held)])
    assert (reply.status, reply.body) == (status, CSV[:3] if status == 206 else CSV)


@pytest.mark.parametrize(
    "header", ["If-Modified-Since", "If-Unmodified-Since", "If-Range", "If-Match", "If-None-Match", "X"]
)
@pytest.mark.parametrize(
    "value",
    ["\xff", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2001 99:99:99 GMT", '"\xff"', "0", ","],
)
def test_odd_conditions_cause_no_error(server: ServerProcess, csv_url: str, header: str, value: str) -> None:
    for path in (csv_url, "/static/app.js", csv_url.partition("/files/")[0]):
        reply = send(server, "GET", path, [(header, value), ("Range", "bytes=0-1")])
        assert reply.status in (200, 206, 412), reply


def test_a_file_beside_its_compressed_namesake_is_itself(server: ServerProcess, csv_url: str) -> None:
    reply = send(server, "GET", csv_url, [("Accept-Encoding", "gzip, br")])
    assert (reply.status, reply.body) == (200, CSV)
    assert "Content-Encoding" not in reply.headers
    namesake = send(server, "GET", f"{csv_url}.gz", [("Accept-Encoding", "gzip")])
    assert (namesake.status, namesake.body) == (200, b"not what data.csv holds")
    assert "Content-Encoding" not in namesake.headers


def test_names_beyond_ascii_are_sent_in_both_forms(server: ServerProcess, job: Any, odd_job: Any) -> None:
    reply = server.request("GET", job["files"][0]["url"])
    assert reply.body.decode() == "Grüße"
    assert reply.headers["Content-Disposition"] == (
        "attachment; filename=\"Gr__e & more.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%26%20more.txt"
    )
    japanese = next(file for file in odd_job["files"] if file["name"] == "日本語.csv")
    assert (
        "filename*=UTF-8''%E6%97%A5%E6%9C%AC%E8%AA%9E.csv"
        in (server.request("HEAD", japanese["url"]).headers["Content-Disposition"])
    )


def test_a_name_cannot_inject_a_header(server: ServerProcess, odd_job: Any) -> None:
    file = next(file for file in odd_job["files"] if "Injected" in file["name"])
    reply = send(server, "GET", file["url"])
    assert (reply.status, reply.body) == (200, b"odd")
    assert "X-Injected" not in reply.headers
    assert 'filename="a_b_c;d_e__X-Injected: yes.txt"' in reply.headers["Content-Disposition"]


def test_an_empty_file_is_a_file(server: ServerProcess, odd_job: Any) -> None:
    url = next(file["url"] for file in odd_job["files"] if file["name"] == "empty.txt")
    reply = send(server, "GET", url)
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "0")
    assert_problem(send(server, "GET", url, [("Range", "bytes=0-")]), 416, "range-not-satisfiable")


@pytest.mark.parametrize(
    "name",
    [
        *("link", "folder", "none", "%00", "data.csv%00", "..", "%2e%2e", "..%2f..%2f..%2fheadway.db", "..%5cx"),
        *("%2fetc%2fpasswd", "data.csv%2f", "folder%2fx", "DATA.CSV", "data.csv%20", "%ff", "a" * 300),
    ],
)
def test_a_name_that_is_not_a_file_of_the_job_is_404(server: ServerProcess, job: Any, name: str) -> None:
    assert_problem(send(server, "GET", f"/jobs/{job['jobId']}/files/{name}"), 404, "not-found")


def test_a_file_of_another_job_is_404(server: ServerProcess, odd_job: Any) -> None:
    assert_problem(server.request("GET", f"/jobs/{odd_job['jobId']}/files/data.csv"), 404, "not-found")


@pytest.mark.parametrize("query", ["inline=maybe", "inline=true&inline=true", "surprise=1"])
def test_odd_options_are_refused(server: ServerProcess, csv_url: str, query: str) -> None:
    reply = send(server, "GET", f"{csv_url}?{query}")
    assert_problem(reply, 422, "validation-failed", "/" + query.partition("=")[0])


def test_a_connection_is_good_for_several_downloads(server: ServerProcess, csv_url: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}, {}):
        connection.request("GET", csv_url, headers=headers)
        response = connection.getresponse()
        assert (response.status, response.read()) in ((200, CSV), (206, CSV[:2]), (304, b""))
    connection.close()


def test_the_page_answers_ranges_and_conditions_like_any_file(server: ServerProcess) -> None:
    etag = send(server, "HEAD", "/static/app.js").headers["Etag"]
    assert send(server, "GET", "/static/app.js", [("If-None-Match", etag)]).status == 304
    assert_problem(send(server, "GET", "/static/app.js", [("Range", "bytes=99999999-")]), 416, "range-not-satisfiable")
    assert_problem(send(server, "GET", "/", [("If-Match", '"x"')]), 412, "precondition-failed")


def test_the_page_runs_nothing_that_is_not_ours(server: ServerProcess) -> None:
    reply = send(server, "GET", "/")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy


def test_a_page_of_an_origin_that_is_allowed_may_read_files_and_import_modules(serving: Serving) -> None:
    origin = "https://shop.example.com"
    server = serving(":memory:", env={"HEADWAY_CORS_ORIGINS": origin})
    job = server.wait_for(server.submit("writes-files", {"text": "x"}))
    for url in (f"/jobs/{job['jobId']}/files/data.csv", "/static/headway.js"):
        assert server.request("GET", url, headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin
        foreign = server.request("GET", url, headers={"Origin": "https://elsewhere.example.com"})
        assert "Access-Control-Allow-Origin" not in foreign.headers
