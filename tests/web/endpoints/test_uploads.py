"""Resumable uploads, by tus 1.0: every rule of the protocol, on the wire."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from headway.web.connections.arriving_bodies import MAX_UPLOADS

from tests.support.keys import bearer, make_key
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually, multipart, run_command
from tests.support.raw import assert_problem, parse
from tests.support.serving import LATER, TEST_JOBS, UNKNOWN, Serving
from tests.support.uploading import PART, TUS, OpenPart, announce, metadata, offset_of, open_part, send_part, uploaded

TEXT = b"Dear reader, this is a letter."
MAX_BYTES = 1_000_000
KIB = 1024
RESUMPTIONS = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    env = {"HEADWAY_MAX_UPLOAD_BYTES": str(MAX_BYTES), "HEADWAY_CORS_ORIGINS": "https://pages.example"}
    with ServerProcess(tmp_path_factory.mktemp("uploads"), "--jobs", str(TEST_JOBS), env=env) as server:
        yield server


def test_a_file_arrives_in_parts_and_one_job_reads_it(server: ServerProcess) -> None:
    upload = announce(server, len(TEXT), filename="a\x1b[31mb.txt", filetype="text/plain", other="x")
    before = server.request("GET", "/usage").json["owner"]["bytes"]["used"]
    first = send_part(server, upload, TEXT[:10], 0)
    assert (first.status, first.headers["Upload-Offset"], first.headers["Tus-Resumable"]) == (204, "10", "1.0.0")
    told = server.request("HEAD", upload, headers=TUS)
    assert (told.status, told.headers["Upload-Offset"], told.headers["Upload-Length"]) == (200, "10", str(len(TEXT)))
    assert told.headers["Upload-Metadata"] == metadata(filename="a\x1b[31mb.txt", filetype="text/plain", other="x")
    assert told.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", told.headers["Upload-Expires"])
    early = server.request("POST", "/jobs/reads-upload", {"document": upload})
    assert "10 of 30 bytes" in assert_problem(early, 422, "validation-failed", "/document")["detail"]
    assert send_part(server, upload, TEXT[10:], 10).headers["Upload-Offset"] == str(len(TEXT))
    job = server.wait_for(server.submit("reads-upload", {"document": upload}))
    assert job["result"]["text"] == TEXT.decode()
    assert job["input"]["document"] == {"name": "ab.txt", "sizeBytes": len(TEXT), "contentType": "text/plain"}
    assert_problem(
        server.request("POST", "/jobs/reads-upload", {"document": upload}), 422, "validation-failed", "/document"
    )
    assert server.request("HEAD", upload, headers=TUS).status == 404
    assert server.request("DELETE", job["statusUrl"] + "?purge=true").status == 204
    assert server.request("GET", "/usage").json["owner"]["bytes"]["used"] == before - len(TEXT)


def test_an_upload_is_named_in_every_kind_of_submission(server: ServerProcess) -> None:
    uploads = [uploaded(server, TEXT) for _ in range(3)]
    ids = [upload.rpartition("/")[2] for upload in uploads]
    enveloped = {"type": "reads-upload", "input": {"document": ids[0]}}
    form, form_type = multipart({"cover": b"a cover"}, {"document": f"http://localhost{uploads[1]}", "copies": 2})
    replies = [
        server.request("POST", "/jobs", enveloped),
        server.request("POST", "/jobs/reads-upload", form, {"Content-Type": form_type}),
        server.request("POST", "/jobs/reads-upload", {"document": ids[2]}),
    ]
    results = [server.wait_for(reply.json["jobId"])["result"] for reply in replies]
    assert [result["text"] for result in results] == [TEXT.decode()] * 3
    assert [result["cover"] for result in results] == [None, "cover.csv", None]
    assert results[0]["filename"] == "document"


def test_what_names_no_upload_is_refused_with_its_pointer(server: ServerProcess) -> None:
    upload = uploaded(server, TEXT)
    for wrong in (UNKNOWN, 5, "letter.txt", None, f"{upload}/"):
        reply = server.request("POST", "/jobs", {"type": "reads-upload", "input": {"document": wrong}})
        assert_problem(reply, 422, "validation-failed", "/input/document")
    twice = server.request("POST", "/jobs/reads-upload", {"document": upload, "cover": upload})
    assert_problem(twice, 422, "validation-failed", "/cover")
    form, form_type = multipart({"document": b"another"}, {"document": upload})
    both = server.request("POST", "/jobs/reads-upload", form, {"Content-Type": form_type})
    assert_problem(both, 422, "validation-failed", "/document")
    wrong_input = server.request("POST", "/jobs/reads-upload", {"document": upload, "copies": "many"})
    assert_problem(wrong_input, 422, "validation-failed", "/copies")
    large = [uploaded(server, b"x" * (MAX_BYTES * 2 // 3)) for _ in range(2)]
    together = server.request("POST", "/jobs/reads-upload", {"document": large[0], "cover": large[1]})
    assert assert_problem(together, 422, "validation-failed", "/document", "/cover")
    batch = server.request("POST", "/jobs/batch", {"jobs": [{"type": "reads-upload", "input": {"document": upload}}]})
    assert "one job" in batch.json["outcomes"][0]["problem"]["detail"]
    assert server.request("POST", f"/jobs/reads-upload{LATER}", {"document": upload}).status == 202, "it was used up"


def test_a_repeated_submission_finds_its_job_though_the_upload_is_gone(server: ServerProcess) -> None:
    upload, key = uploaded(server, TEXT), {"Idempotency-Key": '"named"'}
    first = server.request("POST", f"/jobs/reads-upload{LATER}", {"document": upload}, key)
    again = server.request("POST", f"/jobs/reads-upload{LATER}", {"document": upload}, key)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert again.json["jobId"] == first.json["jobId"]


def test_the_first_part_can_come_with_the_announcement(server: ServerProcess) -> None:
    reply = server.request("POST", "/uploads", TEXT[:7], {**PART, "Upload-Length": str(len(TEXT))})
    assert (reply.status, reply.headers["Upload-Offset"]) == (201, "7")
    assert offset_of(server, reply.headers["Location"]) == 7
    empty = server.request("POST", "/uploads", headers={**TUS, "Upload-Length": "0"})
    assert server.request("POST", f"/jobs/reads-upload{LATER}", {"document": empty.headers["Location"]}).status == 202


def test_options_say_what_is_offered(server: ServerProcess) -> None:
    for path, methods in (("/uploads", "OPTIONS,POST"), (f"/uploads/{UNKNOWN}", "DELETE,HEAD,OPTIONS,PATCH,POST")):
        reply = server.request("OPTIONS", path)
        assert (reply.status, reply.headers["Allow"], reply.headers["Tus-Version"]) == (204, methods, "1.0.0")
        assert reply.headers["Tus-Extension"] == "creation,creation-with-upload,expiration,termination"
        assert reply.headers["Tus-Max-Size"] == str(MAX_BYTES)


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({"Tus-Resumable": "0.2.0"}, 412, "precondition-failed"),
        ({"Tus-Resumable": ""}, 412, "precondition-failed"),
        ({"Upload-Length": "-1"}, 400, "malformed-request"),
        ({"Upload-Length": "1e3"}, 400, "malformed-request"),
        ({"Upload-Length": "9" * 16}, 400, "malformed-request"),
        ({"Upload-Length": str(MAX_BYTES + 1)}, 413, "too-large"),
        ({"Upload-Metadata": "filename not-base-64"}, 400, "malformed-request"),
        ({"Upload-Metadata": "name YQ==,name YQ=="}, 400, "malformed-request"),
        ({"Upload-Metadata": ",,"}, 400, "malformed-request"),
        ({"Upload-Defer-Length": "1"}, 400, "malformed-request"),
        ({"Upload-Concat": "partial"}, 400, "malformed-request"),
    ],
    ids=str,
)
def test_a_wrong_announcement_is_refused(
    server: ServerProcess, headers: Mapping[str, str], status: int, slug: str
) -> None:
    reply = server.request("POST", "/uploads", headers={**TUS, "Upload-Length": "5", **headers})
    assert_problem(reply, status, slug)
    assert reply.headers["Tus-Resumable"] == "1.0.0"
    assert reply.headers["Tus-Version"] == ("1.0.0" if status == 412 else None)


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({"Tus-Resumable": "2.0.0"}, 412, "precondition-failed"),
        ({"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
        ({"Upload-Offset": "some"}, 400, "malformed-request"),
        ({"Upload-Checksum": "sha1 YQ=="}, 400, "malformed-request"),
        ({"Upload-Offset": "4"}, 409, "mismatching-offset"),
        ({"Upload-Offset": "99"}, 409, "mismatching-offset"),
    ],
    ids=str,
)
def test_a_wrong_part_is_refused_and_changes_nothing(
    server: ServerProcess, headers: Mapping[str, str], status: int, slug: str
) -> None:
    upload = announce(server, 8)
    assert send_part(server, upload, b"abc", 0).status == 204
    reply = server.request("PATCH", upload, b"defgh", {**PART, "Upload-Offset": "3", **headers})
    problem = assert_problem(reply, status, slug)
    assert status != 409 or problem["offset"] == 3
    assert offset_of(server, upload) == 3


def test_a_part_that_is_longer_than_the_rest_is_refused_with_a_length_or_without(server: ServerProcess) -> None:
    upload = announce(server, 8)
    with open_part(server, upload, 0, 9) as part:
        assert part.first_line().startswith("HTTP/1.1 413 "), "it is read first"
    chunked = b"4\r\n1234\r\n8\r\n56789abc\r\n0\r\n\r\n"
    head = "".join(f"{name}: {value}\r\n" for name, value in PART.items())
    request = f"PATCH {upload} HTTP/1.1\r\nHost: localhost\r\n{head}Upload-Offset: 0\r\n"
    reply = server.raw(f"{request}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + chunked)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert offset_of(server, upload) <= 8


def test_a_deleted_upload_is_gone_and_its_bytes_are_free(server: ServerProcess) -> None:
    before = server.request("GET", "/usage").json["owner"]["bytes"]["used"]
    upload = announce(server, MAX_BYTES)
    assert server.request("GET", "/usage").json["owner"]["bytes"]["used"] == before + MAX_BYTES
    assert server.request("DELETE", upload, headers=TUS).status == 204
    assert server.request("GET", "/usage").json["owner"]["bytes"]["used"] == before
    for method in ("HEAD", "DELETE"):
        assert server.request(method, upload, headers=TUS).status == 404
    assert_problem(send_part(server, upload, b"a", 0), 404, "not-found")
    assert_problem(send_part(server, "/uploads/a%00b", b"a", 0), 404, "not-found")


def test_a_post_may_stand_for_another_method(server: ServerProcess) -> None:
    upload = announce(server, 5)
    override = "X-HTTP-Method-Override"
    reply = server.request("POST", upload, b"hello", {**PART, "Upload-Offset": "0", override: "PATCH"})
    assert (reply.status, reply.headers["Upload-Offset"]) == (204, "5")
    assert server.request("POST", upload, headers={**TUS, override: "HEAD"}).headers["Upload-Offset"] == "5"
    for meant in ({}, {override: "GET"}, {override: "POST"}):
        refused = server.request("POST", upload, headers={**TUS, **meant})
        assert_problem(refused, 405, "method-not-allowed")
    assert server.request("POST", upload, headers={**TUS, override: "DELETE"}).status == 204
    assert server.request("HEAD", upload, headers=TUS).status == 404


def test_other_pages_may_upload_only_if_the_operator_names_them(server: ServerProcess) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "tus-resumable,upload-offset"}
    preflight = server.request("OPTIONS", f"/uploads/{UNKNOWN}", headers={"Origin": "https://pages.example", **asked})
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    allowed = preflight.headers["Access-Control-Allow-Headers"]
    assert {"Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset"} <= set(allowed.split(", "))
    made = server.request("POST", "/uploads", headers={**TUS, "Upload-Length": "1", "Origin": "https://pages.example"})
    assert {"Location", "Upload-Offset"} <= set(made.headers["Access-Control-Expose-Headers"].split(", "))
    foreign = {**TUS, "Upload-Length": "1", "Origin": "https://elsewhere.example"}
    assert_problem(server.request("POST", "/uploads", headers=foreign), 403, "forbidden")
    for method in ("PATCH", "DELETE"):
        assert_problem(server.request(method, made.headers["Location"], headers=foreign), 403, "forbidden")


def test_a_later_request_takes_the_upload_over(server: ServerProcess) -> None:
    upload = announce(server, 10)
    with open_part(server, upload, 0, 10) as first:
        first.send(b"01234")
        offset = offset_of(server, upload)
        assert_problem(first.reply(), 409, "taken-over")
    assert offset in (0, 5)
    with open_part(server, upload, offset, 10 - offset) as second:
        assert send_part(server, upload, b"0123456789"[offset:], offset).headers["Upload-Offset"] == "10"
        assert_problem(second.reply(), 409, "taken-over")
    job = server.wait_for(server.submit("reads-upload", {"document": upload}))
    assert job["result"]["text"] == "0123456789"


def test_what_arrived_of_a_part_is_kept_when_its_connection_is_lost(serving: Serving, tmp_path: Path) -> None:
    server, data = serving(tmp_path), bytes(range(256)) * 4 * KIB
    upload = announce(server, len(data))
    stored = tmp_path / upload.strip("/") / "bytes"
    with open_part(server, upload, 0, len(data)) as part:
        part.send(data[: 700 * KIB])
        eventually(lambda: stored.stat().st_size >= 256 * KIB)
        part.cut()
        offset = offset_of(server, upload)
    assert 256 * KIB <= offset <= 700 * KIB
    assert send_part(server, upload, data[offset:], offset).status == 204
    assert stored.read_bytes() == data


def test_a_part_that_stalls_is_abandoned_and_what_arrived_is_kept(serving: Serving) -> None:
    server = serving(env={"HEADWAY_BODY_TIMEOUT_S": "0.5"})
    upload = announce(server, 10)
    with open_part(server, upload, 0, 10) as part:
        part.send(b"01234")
        assert_problem(part.reply(), 408, "body-timeout")
    assert offset_of(server, upload) == 5
    headers = {**PART, "Upload-Length": "10", "Content-Length": "10"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reply = parse(
        server.raw(f"POST /uploads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n01234".encode())
    )
    assert (reply.status, reply.headers["Upload-Offset"]) == (201, "5"), "its URL would be lost"
    assert offset_of(server, reply.headers["Location"]) == 5


def test_a_full_disk_is_a_507_and_the_upload_goes_on_when_there_is_room(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    upload = announce(server, len(TEXT))
    assert send_part(server, upload, TEXT[:10], 0).status == 204
    server.stop()
    with ServerProcess(tmp_path, "--jobs", str(TEST_JOBS), env={"HEADWAY_MIN_FREE_BYTES": str(10**15)}) as full:
        assert_problem(send_part(full, upload, TEXT[10:], 10), 507, "insufficient-storage")
        refused = full.request("POST", "/uploads", headers={**TUS, "Upload-Length": "1"})
        assert_problem(refused, 507, "insufficient-storage")
        assert refused.headers["Retry-After"]
        assert offset_of(full, upload) == 10
    server.restart()
    assert send_part(server, upload, TEXT[10:], 10).status == 204
    assert server.wait_for(server.submit("reads-upload", {"document": upload}))["result"]["text"] == TEXT.decode()


def test_an_owner_s_uploads_are_theirs_alone_and_count_in_their_quota(tmp_path: Path) -> None:
    ann, bob = (bearer(make_key(tmp_path, name)) for name in ("ann", "bob"))
    root = bearer(make_key(tmp_path, "root", "--admin"))
    reader = bearer(make_key(tmp_path, "reader", "--owner", "ann", "--read-only"))
    env = {"HEADWAY_QUOTA": "bytes=100", "HEADWAY_INSECURE": "false", "HEADWAY_PUBLIC_URL": "http://jobs.example"}
    env["HEADWAY_ALLOWED_HOSTS"] = "127.0.0.1"
    with ServerProcess(tmp_path, "--jobs", str(TEST_JOBS), env=env) as server:
        upload = uploaded(server, TEXT, ann).removeprefix("http://jobs.example")
        nothing = f"/uploads/{UNKNOWN}"
        for method, headers in (("HEAD", TUS), ("DELETE", TUS), ("PATCH", {**PART, "Upload-Offset": "30"})):
            theirs = server.request(method, upload, headers={**bob, **headers})
            unknown = server.request(method, nothing, headers={**bob, **headers})
            assert theirs.status == unknown.status == 404
            assert theirs.body.replace(upload.encode(), b"") == unknown.body.replace(nothing.encode(), b"")
        for stranger in (bob, root):
            named = server.request("POST", "/jobs/reads-upload", {"document": upload}, dict(stranger))
            assert_problem(named, 422, "validation-failed", "/document")
        assert server.request("HEAD", upload, headers={**TUS, **root}).status == 200
        assert server.request("HEAD", upload, headers=TUS).status == 401
        assert_problem(server.request("DELETE", upload, headers={**TUS, **reader}), 403, "forbidden")
        assert server.request("GET", "/usage", headers=dict(ann)).json["owner"]["bytes"] == {"used": 30, "limit": 100}
        over = server.request("POST", "/uploads", headers={**TUS, **ann, "Upload-Length": "71"})
        assert_problem(over, 507, "storage-quota-exceeded")
        assert announce(server, 100, bob)
        accepted = server.request("POST", f"/jobs/reads-upload{LATER}", {"document": upload}, dict(ann))
        assert accepted.status == 202
        assert 30 < server.request("GET", "/usage", headers=dict(ann)).json["owner"]["bytes"]["used"] < 60


def test_the_audit_trail_names_who_created_and_deleted_an_upload(tmp_path: Path) -> None:
    ann = bearer(make_key(tmp_path, "ann"))
    with ServerProcess(tmp_path, env={"HEADWAY_TRUSTED_PROXIES": "203.0.113.1"}) as server:
        upload = announce(server, 5, ann)
        assert server.request("DELETE", upload, headers={**TUS, **ann}).status == 204
        assert server.request("DELETE", upload, headers={**TUS, **ann}).status == 404
        headers = {**TUS, **ann, "X-HTTP-Method-Override": "DELETE"}
        assert server.request("POST", upload, headers=headers).status == 404
        assert server.request("POST", "/uploads", headers={**TUS, **ann}).status == 400
        assert send_part(server, upload, b"a", 0, ann).status == 404
        printed = run_command("audit", "--json", "--owner", "ann", "--data-dir", str(tmp_path)).stdout
        printed += run_command("audit", "--json", "--actor", "ann", "--data-dir", str(tmp_path)).stdout
    entries = {entry["seq"]: entry for entry in map(json.loads, printed.splitlines()) if "upload" in entry["action"]}
    assert [
        (entry["action"], entry["outcome"], entry["subject"] == upload.rpartition("/")[2]) for entry in entries.values()
    ] == [
        ("create-upload", "ok", True),
        ("delete-upload", "ok", True),
        ("delete-upload", "not-found", True),
        ("delete-upload", "not-found", True),
        ("create-upload", "malformed-request", False),
    ]


def test_an_owner_has_so_many_parts_under_way_and_so_many_a_minute(tmp_path: Path) -> None:
    ann, bob = (bearer(make_key(tmp_path, name)) for name in ("ann", "bob"))
    env = {"HEADWAY_TRUSTED_PROXIES": "203.0.113.1", "HEADWAY_SUBMISSIONS_PER_MINUTE": "300"}
    with ServerProcess(tmp_path, env=env) as server, ExitStack() as stack:
        uploads = [announce(server, 10, ann) for _ in range(MAX_UPLOADS)]
        parts = [stack.enter_context(open_part(server, upload, 0, 10, ann)) for upload in uploads]
        another = announce(server, 10, ann)
        refused = assert_problem(send_part(server, another, b"0123456789", 0, ann), 429, "too-many-requests")
        assert f"{MAX_UPLOADS} uploads at once" in refused["detail"]
        of_bob = announce(server, 10, bob)
        assert send_part(server, of_bob, b"0123456789", 0, bob).status == 204
        parts[0].send(b"0123456789")
        assert parts[0].reply().status == 204
        last = send_part(server, another, b"0123456789", 0, ann)
        assert last.status == 204
        assert last.headers["RateLimit-Policy"].startswith('"upload-parts-by-owner";q=1500;w=60')
        left = int(last.headers["RateLimit"].partition("r=")[2].partition(";")[0])
        assert left == 1500 - (MAX_UPLOADS + 2)


def test_a_client_with_a_key_that_resumes_a_cut_upload_many_times_is_not_refused_for_it(tmp_path: Path) -> None:
    """If interrupted parts counted as refusals, the seventh one would be refused unread."""
    ann, piece = bearer(make_key(tmp_path, "ann")), bytes(256 * KIB)
    env = {"HEADWAY_TRUSTED_PROXIES": "203.0.113.1", "HEADWAY_BODY_TIMEOUT_S": str(WAIT_TIMEOUT_S)}
    with ServerProcess(tmp_path, env=env) as server, ExitStack() as stack:
        upload, parts = announce(server, (RESUMPTIONS + 1) * len(piece), ann), list[OpenPart]()
        for _ in range(RESUMPTIONS):
            offset = offset_of(server, upload, ann)
            parts.append(stack.enter_context(open_part(server, upload, offset, len(piece) + 1, ann)))
            parts[-1].send(piece)
        offset = offset_of(server, upload, ann)
        for part in parts:
            assert_problem(part.reply(), 409, "taken-over")
        assert send_part(server, upload, b"the rest", offset, ann).status == 204


def test_a_client_with_a_key_whose_upload_stalled_is_not_refused_for_it(tmp_path: Path) -> None:
    ann, piece = bearer(make_key(tmp_path, "ann")), bytes(4 * KIB * KIB)
    env = {"HEADWAY_TRUSTED_PROXIES": "203.0.113.1", "HEADWAY_BODY_TIMEOUT_S": "0.5"}
    env["HEADWAY_MAX_BODY_BYTES"] = str(2 * len(piece))
    with ServerProcess(tmp_path, env=env) as server:
        upload = announce(server, 2 * len(piece), ann)
        with open_part(server, upload, 0, 2 * len(piece), ann) as part:
            part.send(piece)
            assert_problem(part.reply(), 408, "body-timeout")
        assert send_part(server, upload, b"on", len(piece), ann).status == 204


def test_a_server_that_stops_keeps_what_has_arrived_of_a_part(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    upload = announce(server, 10)
    with open_part(server, upload, 0, 10) as part:
        part.send(b"01234")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert_problem(part.reply(), 503, "stopping")
        stopping.join()
    server.restart()
    offset = offset_of(server, upload)
    assert send_part(server, upload, b"0123456789"[offset:], offset).headers["Upload-Offset"] == "10"
