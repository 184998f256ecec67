"""Reads that cost little: `ETag`, 304 and compression of lists, results, job types and the like."""

import gzip
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from headway.app import opened
from headway.authoring.loading import load_job_types
from headway.settings import Settings
from headway.web.parts import PARTS
from headway.web.responses.encodings import BIG_BYTES, CODINGS, coding_for

from tests.support.process import ServerProcess
from tests.support.raw import JSON, RawReply, assert_problem, send
from tests.support.serving import LATER, TEST_JOBS, ended

BIG = 70_000
SOME = "?label=representations"

DECODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress}
if "zstd" in CODINGS:
    for module in ("backports.zstd", "compression.zstd"):
        try:
            DECODERS["zstd"] = import_module(module).decompress
        except ImportError:
            continue


def read(server: ServerProcess, path: str, **headers: str) -> RawReply:
    return send(server, "GET", path, [(name.replace("_", "-"), value) for name, value in headers.items()])


@pytest.fixture(scope="module")
def big(server: ServerProcess) -> str:
    """A job with a big result, and beside it many small ones."""
    for number in range(20):
        server.submit("noop", query=f"{LATER}&label={number}")
    return ended(server, "big-result", {"steps": BIG}, SOME)


def paths(job_id: str) -> list[str]:
    return [
        *(f"/jobs{SOME}", f"/jobs/{job_id}/result", f"/jobs/{job_id}/files", f"/jobs/{job_id}/logs", "/job-types"),
        *(f"/jobs/{job_id}/attempts", f"/jobs/{job_id}/deliveries", "/openapi.json", "/jobs/stats", "/api/todos"),
    ]


def test_a_client_that_has_the_representation_gets_a_304(server: ServerProcess, big: str) -> None:
    for path in paths(big):
        first = read(server, path)
        tag = first.headers["ETag"]
        assert (first.status, tag[:3], first.headers["Vary"]) == (200, 'W/"', "Accept-Encoding"), path
        assert first.headers["Cache-Control"] == "private, no-cache"
        for held in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            again = read(server, path, If_None_Match=held)
            assert (again.status, again.body) == (304, b""), (path, held)
            assert (again.headers["ETag"], again.headers["Vary"]) == (tag, "Accept-Encoding")
        assert read(server, path, If_None_Match='"x"').body == first.body


def test_a_list_has_another_etag_when_something_has_changed(server: ServerProcess) -> None:
    label = "has-changed"
    job_id = server.submit("noop", query=f"{LATER}&label={label}")
    path = f"/jobs?label={label}"
    tag = read(server, path).headers["ETag"]
    assert read(server, path, If_None_Match=tag).status == 304
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204
    changed = read(server, path, If_None_Match=tag)
    assert (changed.status, changed.json["jobs"][0]["status"]) == (200, "cancelled")


def test_a_result_that_was_deleted_is_not_a_304(server: ServerProcess) -> None:
    job_id = ended(server, "steps-async", {"steps": 1})
    tag = read(server, f"/jobs/{job_id}/result").headers["ETag"]
    assert server.request("DELETE", f"/jobs/{job_id}/result").status == 204
    for held in (tag, "*"):
        assert_problem(read(server, f"/jobs/{job_id}/result", If_None_Match=held), 410, "gone")
    failed = ended(server, "fails", {"text": "x"})
    assert_problem(read(server, f"/jobs/{failed}/result", If_None_Match="*"), 409, "job-failed")


@pytest.mark.parametrize("coding", sorted(DECODERS))
def test_big_json_is_compressed_as_the_client_accepts_it(server: ServerProcess, big: str, coding: str) -> None:
    for path in (f"/jobs/{big}/result", "/openapi.json", "/jobs?limit=200"):
        plain, small = read(server, path), read(server, path, Accept_Encoding=coding)
        assert "Content-Encoding" not in plain.headers
        assert (small.status, small.headers["Content-Encoding"]) == (200, coding)
        assert DECODERS[coding](small.body) == plain.body
        assert len(small.body) == int(small.headers["Content-Length"]) < len(plain.body) / 3
        assert small.headers["ETag"] == plain.headers["ETag"]
        assert read(server, path, Accept_Encoding=coding, If_None_Match=small.headers["ETag"]).status == 304
        head = send(server, "HEAD", path, (("Accept-Encoding", coding),))
        assert (head.headers["Content-Length"], head.body) == (small.headers["Content-Length"], b"")


def test_a_job_with_a_big_input_is_compressed_too(server: ServerProcess) -> None:
    job_id = server.submit("fails", {"text": "x" * BIG}, LATER)
    plain, small = read(server, f"/jobs/{job_id}"), read(server, f"/jobs/{job_id}", Accept_Encoding="gzip")
    assert (small.status, small.headers["Vary"]) == (202, "Accept, Accept-Encoding")
    assert json.loads(gzip.decompress(small.body)) == plain.json
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:  # whose connection is kept
        kept = client.get(f"/jobs/{job_id}", headers={"Accept-Encoding": "gzip"})
        assert (kept.headers["Content-Encoding"], kept.json()) == ("gzip", plain.json)
        assert "Content-Encoding" not in client.get(f"/jobs/{job_id}", headers={"Accept-Encoding": "br"}).headers
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204


def test_what_is_small_or_a_stream_or_a_file_or_secret_is_sent_as_it_is(server: ServerProcess) -> None:
    job_id = ended(server, "writes-files", {"text": "x"})
    stream = read(server, f"/jobs/{job_id}/progress", Accept_Encoding="gzip")
    assert stream.headers["Content-Type"] == "text/event-stream"
    secret = send(server, "POST", f"/jobs/{job_id}/tickets", (*JSON, ("Accept-Encoding", "gzip")), b"{}")
    assert secret.status == 201
    replies = [read(server, f"{path}", Accept_Encoding="gzip") for path in (f"/jobs/{job_id}", "/static/app.js")]
    for reply in (stream, secret, *replies, read(server, f"/{'x' * BIG_BYTES}", Accept_Encoding="gzip")):
        assert "Content-Encoding" not in reply.headers


def coding(size_bytes: int = BIG_BYTES, **headers: str) -> str | None:
    sent: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
    return coding_for(make_mocked_request("GET", "/", sent), size_bytes)


BEST = next(iter(CODINGS))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("gzip, deflate, br, zstd", BEST),
        ("GZIP;q=0.5", "gzip"),
        ("*", BEST),
        ("gzip;q=1, zstd;q=0.9", "gzip"),
        ("gzip;q=0, *", BEST if BEST != "gzip" else None),
        ("*;q=0", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("br, deflate", None),
        ("", None),
    ],
)
def test_the_client_weighs_the_codings(accept: str, expected: str | None) -> None:
    assert coding(Accept_Encoding=accept) == expected
    assert coding(BIG_BYTES - 1, Accept_Encoding=accept) is None


def test_what_another_sites_page_causes_is_not_compressed() -> None:
    assert coding(Accept_Encoding="gzip", Sec_Fetch_Site="same-origin") == "gzip"
    assert coding(Accept_Encoding="gzip", Sec_Fetch_Site="cross-site") is None
    assert coding(Accept_Encoding="gzip", Sec_Fetch_Site="same-site") is None
    assert coding(Accept_Encoding="gzip", Origin="https://evil.test") is None


async def test_a_response_does_not_wait_for_the_compression_of_another(tmp_path: Path) -> None:
    settings: Any = Settings(data_dir=str(tmp_path / "data"))
    registry = load_job_types([str(TEST_JOBS)])
    async with opened(settings, registry) as rooms, TestClient(TestServer(rooms.app), auto_decompress=False) as client:
        headers = {"Accept-Encoding": "gzip"}
        async with rooms.app[PARTS].compressing, client.get("/openapi.json", headers=headers) as reply:
            assert "Content-Encoding" not in reply.headers
            whole = await reply.read()
        async with client.get("/openapi.json", headers=headers) as reply:
            assert reply.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await reply.read()) == whole
        rooms.hub.close()
