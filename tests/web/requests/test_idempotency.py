"""`Idempotency-Key`: a repeat is the first job, another request is refused, and a malformed key is rejected."""

import asyncio
import itertools
import json
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from headway.app import opened
from headway.authoring.loading import load_job_types
from headway.clock import utc_now
from headway.domain.idempotency import KEPT
from headway.settings import Settings
from headway.web.parts import PARTS

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import FORM, JSON, RawReply, assert_problem, form, parse, part, request_bytes, send
from tests.support.representation import assert_representation
from tests.support.serving import LATER, TEST_JOBS, Serving, ended

DOCUMENT = part("document", b"hello", "a.txt", "Content-Type: text/plain")
INPUT = part("input", b'{"copies": 2}', None, "Content-Type: application/json")

_keys = itertools.count()


def new_key() -> str:
    return f'"key-{next(_keys)}"'


def post(server: ServerProcess, path: str, body: Any, key: str) -> RawReply:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(server, "POST", path, (*JSON, ("Idempotency-Key", key)), sent)


def post_form(server: ServerProcess, path: str, key: str, *parts: bytes, boundary: bytes | None = None) -> RawReply:
    headers, body = FORM, form(*parts)
    if boundary is not None:
        old = FORM[0][1].rpartition("=")[2]
        headers = (("Content-Type", f"multipart/form-data; boundary={boundary.decode()}"),)
        body = body.replace(old.encode(), boundary)
    return send(server, "POST", path, (*headers, ("Idempotency-Key", key)), body)


def assert_first(reply: RawReply) -> Any:
    assert reply.status == 202, reply.body
    assert "Idempotency-Replayed" not in reply.headers
    return reply.json


def assert_replayed(reply: RawReply, job: Any) -> Any:
    assert reply.status == 202, reply.body
    assert reply.headers["Idempotency-Replayed"] == "true"
    assert reply.headers["Location"] == f"/jobs/{job['jobId']}"
    assert int(reply.headers["Retry-After"]) >= 1
    assert_representation(reply.json)
    assert reply.json["jobId"] == job["jobId"]
    return reply.json


def total(server: ServerProcess) -> int:
    count: int = server.request("GET", "/jobs/stats").json["total"]
    return count


def test_a_repeat_is_answered_with_the_first_job_as_it_is_now(server: ServerProcess) -> None:
    key = new_key()
    job = assert_first(post(server, f"/jobs/steps-async{LATER}", {"steps": 2}, key))
    assert assert_replayed(post(server, f"/jobs/steps-async{LATER}", {"steps": 2}, key), job)["status"] == "queued"
    assert server.request("DELETE", f"/jobs/{job['jobId']}").status == 204
    assert assert_replayed(post(server, f"/jobs/steps-async{LATER}", {"steps": 2}, key), job)["status"] == "cancelled"


def test_how_a_request_is_written_does_not_matter(server: ServerProcess) -> None:
    """The order of fields, spaces, JSON or a form, the envelope or the type's own path, a default in full."""
    key = new_key()
    before = total(server)
    job = assert_first(post(server, "/jobs/steps-async?label=once", b'{"steps":2,"step_s":0.5}', key))
    assert_replayed(post(server, "/jobs/steps-async?label=once", b' {"step_s" : 5e-1,\n"steps": 2 }', key), job)
    envelope = {"priority": 0, "label": "once", "input": {"step_s": 0.5, "steps": 2}, "type": "steps-async"}
    assert_replayed(post(server, "/jobs", envelope, key), job)
    input = part("input", b'{"step_s":0.5,"steps":2}')
    assert_replayed(post_form(server, "/jobs/steps-async?label=once", key, input), job)
    assert_replayed(post_form(server, "/jobs", key, part("type", b"steps-async"), part("label", b"once"), input), job)
    assert total(server) == before + 1


def test_an_upload_that_is_sent_again_is_the_first_job(server: ServerProcess) -> None:
    key = new_key()
    job = assert_first(post_form(server, "/jobs/reads-upload", key, DOCUMENT, INPUT))
    assert_replayed(post_form(server, "/jobs/reads-upload", key, INPUT, DOCUMENT, boundary=b"another-one"), job)
    other = part("document", b"hallo", "a.txt", "Content-Type: text/plain")
    reply = post_form(server, "/jobs/reads-upload", key, other, INPUT)
    assert_problem(reply, 422, "idempotency-key-reused")
    cover = part("cover", b"hello", "a.txt", "Content-Type: text/plain")
    assert_problem(post_form(server, "/jobs/reads-upload", key, DOCUMENT, INPUT, cover), 422, "idempotency-key-reused")
    assert server.wait_for(job["jobId"])["result"]["text"] == "hello"


def test_a_big_upload_is_summed_up_while_it_is_read(server: ServerProcess) -> None:
    key, text = new_key(), b"0123456789abcdef" * 200_000
    job = assert_first(post_form(server, "/jobs/reads-upload", key, part("document", text, "a.txt")))
    assert_replayed(post_form(server, "/jobs/reads-upload", key, part("document", text, "a.txt")), job)
    reply = post_form(server, "/jobs/reads-upload", key, part("document", text[:-1] + b"!", "a.txt"))
    assert_problem(reply, 422, "idempotency-key-reused")
    assert server.wait_for(job["jobId"])["input"]["document"]["sizeBytes"] == len(text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jobs/steps-async", {"steps": 3}),
        ("/jobs/steps-async", {"steps": 2, "step_s": 0}),
        ("/jobs/steps-async?label=x", {"steps": 2}),
        ("/jobs/steps-async?priority=1", {"steps": 2}),
        ("/jobs/steps-async?timeoutSeconds=5", {"steps": 2}),
        ("/jobs/steps-async?runAt=2026-01-01T00:00:00Z", {"steps": 2}),
        ("/jobs/steps-process", {"steps": 2}),
        ("/jobs", {"type": "steps-async", "input": {"steps": 2}, "label": "x"}),
    ],
)
def test_another_request_with_the_same_key_is_refused(server: ServerProcess, path: str, body: Any) -> None:
    key = new_key()
    job = assert_first(post(server, "/jobs/steps-async", {"steps": 2}, key))
    before = total(server)
    assert_problem(post(server, path, body, key), 422, "idempotency-key-reused")
    assert_replayed(post(server, "/jobs/steps-async", {"steps": 2}, key), job)
    assert total(server) == before


def test_a_job_that_was_purged_or_has_expired_is_not_made_again(server: ServerProcess) -> None:
    purged_key, expired_key = new_key(), new_key()
    purged = assert_first(post(server, "/jobs/noop", {}, purged_key))
    server.wait_for(purged["jobId"])
    server.request("DELETE", f"/jobs/{purged['jobId']}?purge=true")
    expired = assert_first(post(server, f"/jobs/noop{LATER}&retainSeconds=0", {}, expired_key))
    assert server.request("DELETE", f"/jobs/{expired['jobId']}").status == 204
    for _ in range(2):
        assert_problem(post(server, "/jobs/noop", {}, purged_key), 410, "gone")
        assert_problem(post(server, f"/jobs/noop{LATER}&retainSeconds=0", {}, expired_key), 410, "gone")
    assert_problem(post(server, "/jobs/noop?label=x", {}, purged_key), 422, "idempotency-key-reused")


def test_a_refused_request_leaves_its_key_free(server: ServerProcess) -> None:
    key = new_key()
    assert_problem(post(server, "/jobs/steps-async", {"steps": -1}, key), 422, "validation-failed", "/steps")
    assert_problem(post(server, "/jobs/steps-async", b"{", key), 400, "malformed-request")
    assert_problem(post(server, "/jobs/nothing", {}, key), 404, "not-found")
    assert_problem(post_form(server, "/jobs/reads-upload", key, INPUT), 422, "validation-failed", "/document")
    assert_first(post(server, "/jobs/steps-async", {"steps": 1}, key))


@pytest.mark.parametrize(
    "key",
    [
        "two words", "to;ken", "a,b", "a/b", "tök", "k" * 256,
        "", '""', '"open', 'open"', '"a" "b"', '"a", "b"', '"tab\there"', '"\\n"',
        '"a"b', '"a";', '"a";A=1',
        ":YWJj:", "?1", '("a")', '"a";b=', '"ä"', '"' + "k" * 256 + '"', '"a";b="',
    ],
)  # fmt: skip
def test_a_key_that_is_neither_a_structured_field_string_nor_a_token_is_refused(
    server: ServerProcess, key: str
) -> None:
    before = total(server)
    assert_problem(post(server, "/jobs/noop", {}, key), 400, "malformed-request")
    assert total(server) == before


def test_two_keys_are_no_key(server: ServerProcess) -> None:
    headers = (*JSON, ("Idempotency-Key", '"a"'), ("Idempotency-Key", '"a"'))
    assert_problem(send(server, "POST", "/jobs/noop", headers, b"{}"), 400, "malformed-request")


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', '  "8e03978e-40d5-43e8-bc93-6894a57f9324"'),
        ('"with \\"quotes\\" and \\\\"', '"with \\"quotes\\" and \\\\"; a'),
        ('"parameters"', '"parameters";a=1;b=-2.5;c="x;y";d=*t/o:k;e=:YQ==:;f=?0;*g'),
        ('"' + "k" * 255 + '"', '"' + "k" * 255 + '"'),
        ('" "', '" "'),
        ('"d9428888-122b-11e1-b85c-61cd3cbb3210"', "d9428888-122b-11e1-b85c-61cd3cbb3210"),
        ("stainless-python-retry-42", '"stainless-python-retry-42"; a=1'),
        ("t" * 255, " " + "t" * 255),
    ],
)
def test_a_key_is_its_characters_with_quotes_and_parameters_or_without(
    server: ServerProcess, key: str, same: str
) -> None:
    job = assert_first(post(server, "/jobs/noop", {}, key))
    assert_replayed(post(server, "/jobs/noop", {}, same), job)


def test_a_key_counts_upper_and_lower_case(server: ServerProcess) -> None:
    assert_first(post(server, "/jobs/noop", {}, '"case"'))
    assert_first(post(server, "/jobs/noop", {}, '"Case"'))


def test_a_retry_with_a_key_happens_once(server: ServerProcess) -> None:
    failed, other, key = ended(server, "fails", {"text": "x"}), ended(server, "fails", {"text": "x"}), new_key()
    path, headers = f"/jobs/{failed}/retry", (("Idempotency-Key", key),)
    job = assert_first(send(server, "POST", path, headers))
    assert job["retryOf"] == failed
    assert_replayed(send(server, "POST", path, headers), job)
    assert_problem(send(server, "POST", f"/jobs/{other}/retry", headers), 422, "idempotency-key-reused")
    server.request("DELETE", f"/jobs/{failed}?purge=true")
    assert_replayed(send(server, "POST", path, headers), job)
    assert_problem(send(server, "POST", f"/jobs/{other}/retry", (("Idempotency-Key", '"x'),)), 400, "malformed-request")


def test_a_full_queue_refuses_no_repeat_and_a_repeat_takes_no_place(serving: Serving) -> None:
    server = serving(env={"HEADWAY_MAX_QUEUED": "2"})
    job = assert_first(post(server, f"/jobs/noop{LATER}", {}, '"json"'))
    upload = assert_first(post_form(server, f"/jobs/reads-upload{LATER}", '"form"', DOCUMENT))
    for _ in range(3):
        assert_replayed(post(server, f"/jobs/noop{LATER}", {}, '"json"'), job)
        assert_replayed(post(server, "/jobs", {"type": "noop", "runAt": "2099-01-01T00:00:00Z"}, '"json"'), job)
        assert_replayed(post_form(server, f"/jobs/reads-upload{LATER}", '"form"', DOCUMENT), upload)
    assert_problem(post(server, f"/jobs/noop{LATER}", {}, '"new"'), 503, "queue-full")
    server.request("DELETE", f"/jobs/{upload['jobId']}")
    assert_replayed(post(server, f"/jobs/noop{LATER}", {}, '"json"'), job)
    assert_first(post(server, f"/jobs/noop{LATER}", {}, '"new"'))


def test_a_full_disk_refuses_no_repeat(serving: Serving, tmp_path: Any) -> None:
    server = serving(tmp_path)
    job = assert_first(post_form(server, "/jobs/reads-upload", '"form"', DOCUMENT))
    server.stop()
    server._env["HEADWAY_MIN_FREE_BYTES"] = str(2**60)
    server.restart()
    assert_problem(post_form(server, "/jobs/reads-upload", '"new"', DOCUMENT), 503, "disk-full")
    assert_replayed(post_form(server, "/jobs/reads-upload", '"form"', DOCUMENT), job)


def test_a_type_that_cannot_run_any_more_refuses_no_repeat(serving: Serving, tmp_path: Any) -> None:
    moods = tmp_path / "moods.py"
    moods.write_text(MOODY.replace("REASON", "None"))
    server = serving(tmp_path / "data", "--jobs", str(moods))
    job = assert_first(post(server, "/jobs/moody", {}, '"k"'))
    server.stop()
    moods.write_text(MOODY.replace("REASON", "'not today'"))
    server.restart()
    assert_problem(post(server, "/jobs/moody", {}, '"new"'), 503, "job-type-unavailable")
    assert_replayed(post(server, "/jobs/moody", {}, '"k"'), job)


MOODY = """
from headway import Context, job

@job("moody", unavailable=lambda: REASON)
async def moody(ctx: Context) -> None:
    pass
"""


def test_at_once_one_is_accepted_and_its_files_stay(serving: Serving, tmp_path: Any) -> None:
    server = serving(tmp_path)
    replies: list[RawReply] = []
    ready = threading.Barrier(8)

    def client() -> None:
        ready.wait()
        replies.append(post_form(server, "/jobs/reads-upload", '"k"', DOCUMENT, INPUT))

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert {reply.status for reply in replies} == {202}
    (job_id,) = {reply.json["jobId"] for reply in replies}
    assert sum("Idempotency-Replayed" in reply.headers for reply in replies) == 7
    assert server.wait_for(job_id)["result"]["text"] == "hello"
    assert [folder.name for folder in (tmp_path / "jobs").iterdir()] == [job_id]


def test_a_submission_that_cannot_succeed_is_refused_before_its_body_arrives(server: ServerProcess) -> None:
    head = request_bytes("POST", "/jobs/no-such-type", (*JSON, ("Idempotency-Key", new_key()), ("Content-Length", "9")))
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(head)
        received = connection.recv(65536)
        while b"}" not in received:
            received += connection.recv(65536)
    assert_problem(parse(received), 404, "not-found")


async def test_a_key_that_expires_while_a_file_arrives_still_stands_for_its_job(tmp_path: Path) -> None:
    """Nothing of the file is kept then, so no job could be made of it."""
    headers = (*FORM, ("Idempotency-Key", new_key()))
    request = request_bytes("POST", "/jobs/reads-upload", headers, form(DOCUMENT))
    async with opened(Settings(data_dir=str(tmp_path)), load_job_types([str(TEST_JOBS)])) as rooms:
        runner = web.AppRunner(rooms.app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

        async def exchange(*, expiring: bool) -> RawReply:
            reader, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(request[:-20])
            while not rooms.app[PARTS].arriving.contents:  # noqa: ASYNC110 - there is no event for a request that begins
                await asyncio.sleep(0.001)
            if expiring:
                await rooms.store.forget_keys(utc_now() + KEPT + timedelta(days=1), 10)
            writer.write(request[-20:])
            reply = parse(await reader.read())
            writer.close()
            return reply

        async with asyncio.timeout(WAIT_TIMEOUT_S):
            job = assert_first(await exchange(expiring=False))
            assert_replayed(await exchange(expiring=True), job)
        await runner.cleanup()
