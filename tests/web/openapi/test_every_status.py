"""Every status that the description promises is produced here, once for each operation, and no other."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from headway.app import Rooms, opened
from headway.authoring.job_types import Registry
from headway.authoring.loading import load_job_types
from headway.domain.deliveries import MAX_SECRETS
from headway.operating.keys import CreateKey, create_key
from headway.ports.actions import MOST_ACTIVE
from headway.quotas import Quota
from headway.service.uploads import resumable
from headway.settings import Settings
from headway.web.identity.rates import RATES, Rate
from headway.web.openapi import Description

from tests.support.receiver import Receiver
from tests.support.serving import UNKNOWN

JOBS = Path(__file__).parents[2] / "fuzz" / "jobs_to_fuzz.py"
REMOTE_JOBS = Path(__file__).parents[2] / "job_types" / "remote_jobs.py"
LATER = {"runAt": "2099-01-01T00:00:00Z"}
LETTER = {"text": "Dear reader"}
INPUTS: Mapping[str, Any] = {
    "write-letter": LETTER,
    "grow-tree": {"name": "oak"},
    "fail-always": LETTER,
    "count-papers": {"pages": 2},
    "do-nothing": {},
    "read-aloud": {},
    "stop-slowly": {},
}
BODY_LIMIT_BYTES = 20_000


class Asking:
    """Asks, and notes which operation answered with what."""

    def __init__(self, client: "TestClient[Any, Any]", rooms: Rooms, document: Any) -> None:
        self.client = client
        self.rooms = rooms
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        self.key = ""

    async def ask(self, operation: str, status: int, *, query: Any = None, **options: Any) -> Any:
        """`operation`: method and path as the description has them; `id`, `name` and `delivery` fill its path. The
        JSON body.
        """
        method, template = operation.split()
        again = {**options, "query": query}
        path = template.format(
            id=options.pop("id", UNKNOWN),
            name=options.pop("name", "letter.txt"),
            path="app.js",
            type=options.pop("type", "read-aloud"),
            field=options.pop("field", "document"),
            uploadId=options.pop("upload", UNKNOWN),
            deliveryId=options.pop("delivery", UNKNOWN),
        )
        suffix = query if isinstance(query, str) else ""
        params = None if isinstance(query, str) else query
        async with self.client.request(method, path + suffix, params=params, allow_redirects=False, **options) as reply:
            body = b"" if reply.content_type == "text/event-stream" else await reply.read()
            assert reply.status == status, (operation, status, reply.status, body)
            responses = self.document["paths"][template][method.lower()]["responses"]
            described = responses.get(str(status)) or responses[f"{status // 100}XX"]
            always = {name for name, header in described["headers"].items() if header.get("required", True)}
            assert always <= reply.headers.keys(), (operation, status)
            self.seen.add((method, template, status))
            found = await reply.json() if reply.content_type == "application/json" else body
        if status == 200 and self.is_conditional(method, template):
            held = {**again.pop("headers", {}), "If-None-Match": reply.headers["ETag"]}
            await self.ask(operation, 304, **again, headers=held)
        return found

    def is_conditional(self, method: str, template: str) -> bool:
        """Whether it is JSON with a 304, which is tried here."""
        answers = self.document["paths"][template][method.lower()]["responses"]
        return "304" in answers and "application/json" in answers["200"]["content"]

    async def submit(self, job_type: str, input: Any = LETTER, **query: str) -> str:
        """A job's id."""
        job = await self.ask(f"POST /jobs/{job_type}", 202, json=input, query=query)
        return str(job["jobId"])

    async def ended(self, job_type: str, input: Any = LETTER) -> str:
        """The id of a job that has ended."""
        job_id = await self.submit(job_type, input)
        await self.ask("GET /jobs/{id}", 200, id=job_id, query={"wait": "30"})
        return job_id

    async def upload(self) -> str:
        """The id of an upload of eight bytes, of which none has arrived."""
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "8"}
        async with self.client.post("/uploads", headers=headers) as reply:
            return reply.headers["Location"].rpartition("/")[2]

    async def message_of(self, job_id: str) -> str | None:
        return (await self.rooms.store.get("local", job_id)).progress.message

    async def undelivered(self) -> int:
        """Deliveries still to come. The first one exists as soon as its job runs, the last one once it has ended."""
        async with self.client.get("/webhooks/deliveries") as reply:
            listed = (await reply.json())["deliveries"]
        ended = [each for each in listed if each["event"] == "job.completed"]
        return 1 - len(ended) + sum(each["deliveredAt"] is None for each in listed)

    async def requests_that_wait(self) -> int:
        return self.rooms.service.waiting._waits

    async def status_of(self, path: str) -> int:
        async with self.client.get(path) as reply:
            return reply.status

    async def until(self, look: Callable[[], Awaitable[Any]], wanted: object) -> None:
        """For what rings no bell here: the end of this test is the limit."""
        while await look() != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asking]:
    settings = Settings(
        data_dir=str(tmp_path / "data"),
        max_body_bytes=BODY_LIMIT_BYTES,
        body_timeout_s=0.5,
        max_upload_bytes=100_000,
        max_streams_per_client=1,
        webhook_allow=("127.0.0.1",),
        max_waits_per_client=1,
    )
    monkeypatch.setattr(resumable, "LONGEST_WAIT_S", 0.0)
    remote = [each for each in load_job_types([str(REMOTE_JOBS)]) if each.name == "read-aloud"]
    registry = Registry([*load_job_types([str(JOBS)]), *remote])
    document = Description(registry, settings).document()
    async with opened(settings, registry) as rooms, TestClient(TestServer(rooms.app)) as client:
        yield Asking(client, rooms, document)
        rooms.hub.close()  # what streams wait for at shutdown


@pytest.mark.slow
async def test_every_documented_status_is_produced(asking: Asking) -> None:
    worker = asyncio.create_task(work(asking))
    for operation, input, query in submissions(asking.document):
        await submit_in_every_way(asking, operation, input, query)
    worker.cancel()
    await asyncio.wait({worker})
    await do_jobs_elsewhere(asking)
    await submit_batches(asking)
    await act_on_many(asking)
    await send_uploads(asking)
    await read_and_delete_jobs(asking)
    await poll_as_sdks_do(asking)
    await look_at_deliveries(asking)
    await follow_streams(asking)
    for prefix in ("/jobs", "/fuzz/letters", "/fuzz/nothings"):
        await read_results_and_files(asking, prefix)
    await look_at_the_service(asking)
    await exceed_a_quota(asking)
    await sign_in_and_out(asking)
    await refuse_what_no_operation_takes(asking)
    await stop(asking)
    await lose_the_record(asking)
    documented = {
        (method.upper(), path, int(status))
        for path, operations in asking.document["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if status.isdecimal()  # not a range: which of its statuses it is depends on the job
    }
    assert documented - asking.seen == set(), "documented, and produced by no test"
    assert asking.seen - documented == set()


def submissions(document: Any) -> list[tuple[str, Any, bool]]:
    """Each way to submit: the operation, an input, and whether options are query parameters."""
    found: list[tuple[str, Any, bool]] = [("POST /jobs", {"type": "write-letter", "input": LETTER}, False)]
    found.append(("POST /jobs/{id}", LETTER, True))
    found += [(f"POST /jobs/{name}", input, True) for name, input in INPUTS.items()]
    found += [("POST /fuzz/letters", LETTER, True), ("POST /fuzz/nothings", {}, True)]
    assert all("post" in document["paths"][operation.split()[1]] for operation, _, _ in found)
    return found


async def submit_in_every_way(asking: Asking, operation: str, input: Any, by_query: bool) -> None:
    named = {"id": "write-letter"}
    key = {"Idempotency-Key": f'"{operation}"'}

    def sent() -> dict[str, Any]:
        return with_files(operation, input)

    job = await asking.ask(operation, 202, **named, **sent(), headers=key)
    await asking.ask(operation, 200, **named, **sent(), headers={"Prefer": "wait=30"})
    await asking.ask("GET /jobs/{id}", 200, id=job["jobId"], query={"wait": "30"})
    await asking.ask("DELETE /jobs/{id}", 204, id=job["jobId"], query={"purge": "true"})
    await asking.ask(operation, 410, **named, **sent(), headers=key)
    await asking.ask(operation, 400, **named, json=input, query="?%ff")
    as_json = {"Content-Type": "application/json"}
    await asking.ask(operation, 400, **named, data=b"{", headers=as_json)
    await asking.ask(operation, 413, **named, data=b" " * (BODY_LIMIT_BYTES + 1), headers=as_json)
    await asking.ask(operation, 415, **named, data=b"{}", headers={"Content-Type": "text/plain"})
    await asking.ask(operation, 422, **named, json={"surprise": 1})
    await asking.ask(operation, 408, **named, data=stalled(), headers=as_json)
    if not by_query:
        await asking.ask(operation, 404, json={"type": "nothing", "input": {}})
    if operation == "POST /jobs/{id}":
        await asking.ask(operation, 404, id="nothing", json=input)


def with_files(operation: str, input: Any) -> dict[str, Any]:
    """The body of a submission: a form if its type takes files."""
    for name, field in (("count-papers", "letter"), ("read-aloud", "document")):
        if name in operation:
            form = FormData({"input": json.dumps(input)})
            form.add_field(field, b"Dear reader", filename="letter.txt")
            return {"data": form}
    return {"json": input}


async def submit_batches(asking: Asking) -> None:
    operation, as_json = "POST /jobs/batch", {"Content-Type": "application/json"}
    key = {"Idempotency-Key": '"batch"'}
    letters = {"jobs": [{"type": "write-letter", "input": LETTER}]}
    await asking.ask(operation, 200, json=letters, headers=key)
    await asking.ask(operation, 422, json={"jobs": [*letters["jobs"], {}]}, headers=key)
    await asking.ask(operation, 400, data=b"{", headers=as_json)
    await asking.ask(operation, 408, data=stalled(), headers=as_json)
    await asking.ask(operation, 413, json={"jobs": [{"input": "a" * BODY_LIMIT_BYTES}, {"input": "a" * 99_999}]})
    await asking.ask(operation, 415, data=b"{}", headers={"Content-Type": "text/plain"})


async def act_on_many(asking: Asking) -> None:
    """An empty quota refuses an action once there are some."""
    operation, json = "POST /jobs/actions", {"Content-Type": "application/json"}
    key, body = {"Idempotency-Key": '"action"'}, {"action": "cancel", "ids": [UNKNOWN]}
    action = await asking.ask(operation, 202, json=body, headers=key)
    for _ in range(MOST_ACTIVE):
        await asking.ask(operation, 200, json=body, headers={"Prefer": "wait=30"})
    await asking.ask("GET /jobs/{id}", 200, id=action["jobId"], query={"wait": "30"})
    await asking.ask("DELETE /jobs/{id}", 204, id=action["jobId"], query={"purge": "true"})
    await asking.ask(operation, 410, json=body, headers=key)
    await asking.ask(operation, 422, json={"action": "cancel"})
    await asking.ask(operation, 400, data=b"{", headers=json)
    await asking.ask(operation, 408, data=stalled(), headers=json)
    await asking.ask(operation, 413, data=b" " * (BODY_LIMIT_BYTES + 1), headers=json)
    await asking.ask(operation, 415, data=b"{}", headers={"Content-Type": "text/plain"})


async def send_uploads(asking: Asking) -> None:
    ask, one, tus = asking.ask, "/uploads/{uploadId}", {"Tus-Resumable": "1.0.0"}
    part = {**tus, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    override = {"X-HTTP-Method-Override": "PATCH"}
    for path in ("/uploads", one):
        await ask(f"OPTIONS {path}", 204)
    for length, status in (("8", 201), ("a", 400), (str(10**14), 413)):
        await ask("POST /uploads", status, headers={**tus, "Upload-Length": length})
    await ask("POST /uploads", 412)
    await ask("POST /uploads", 415, data=b"a", headers={**tus, "Upload-Length": "8"})
    upload = await asking.upload()
    await ask(f"POST {one}", 405, upload=upload, headers=tus)
    await ask(f"POST {one}", 200, upload=upload, headers={**tus, "X-HTTP-Method-Override": "HEAD"})
    await ask(f"HEAD {one}", 200, upload=upload, headers=tus)
    for method, headers in (("PATCH", part), ("POST", part | override)):
        await append_in_every_way(asking, f"{method} {one}", upload, headers)
    for method, headers in (("PATCH", part), ("POST", part | override), ("HEAD", tus), ("DELETE", tus)):
        await ask(f"{method} {one}", 404, headers=headers)
        await ask(f"{method} {one}", 412, upload=upload)
        await ask(f"{method} {one}", 400, upload=upload, headers={**headers, "Upload-Checksum": "sha1 YQ=="})
        async with asking.rooms.service.uploads._kept[upload].lock:
            await ask(f"{method} {one}", 423, upload=upload, headers=headers)
    await ask(f"DELETE {one}", 204, upload=upload, headers=tus)
    asking.rooms.service.admission.stopping = True
    for method, headers in (("PATCH", part), ("POST", part | override)):
        await ask(f"{method} {one}", 503, headers=headers)
    await ask("POST /uploads", 503, headers={**tus, "Upload-Length": "8"})
    asking.rooms.service.admission.stopping = False


async def append_in_every_way(asking: Asking, operation: str, upload: str, headers: dict[str, str]) -> None:
    def at_end() -> dict[str, str]:
        return headers | {"Upload-Offset": str(asking.rooms.service.uploads._kept[upload].received_bytes)}

    await asking.ask(operation, 409, upload=upload, data=b"a", headers=headers | {"Upload-Offset": "5"})
    await asking.ask(operation, 413, upload=upload, data=b"123456789", headers=at_end())
    await asking.ask(operation, 415, upload=upload, data=b"a", headers=headers | {"Content-Type": "text/plain"})
    await asking.ask(operation, 408, upload=upload, data=stalled(), headers=at_end())
    with patch.object(asking.rooms.service.admission, "_min_free_bytes", 10**18):
        await asking.ask(operation, 507, upload=upload, data=b"a", headers=at_end())
    await asking.ask(operation, 204, upload=upload, headers=at_end())


async def stalled() -> AsyncIterator[bytes]:
    """A body of which nothing more comes."""
    yield b"{"
    await asyncio.sleep(30)


async def read_and_delete_jobs(asking: Asking) -> None:
    ask = asking.ask
    await ask("GET /jobs", 200)
    await ask("GET /jobs/stats", 200)
    for prefix, job_type in (
        ("/jobs", "write-letter"),
        ("/fuzz/letters", "write-letter"),
        ("/fuzz/nothings", "do-nothing"),
    ):
        status = f"GET {prefix}/{{id}}" if prefix == "/jobs" else f"GET {prefix}/{{id}}/status"
        waiting = await asking.submit(job_type, INPUTS[job_type], **LATER)
        await ask(status, 202, id=waiting)
        await ask(status, 304, id=waiting, headers={"If-None-Match": "*"})
        await ask(status, 404)
        ended = await asking.ended(job_type, INPUTS[job_type])
        await ask(status, 200, id=ended)
        await ask(status, 303, id=ended, query={"redirect": "true"})
        if prefix != "/jobs":
            await ask(f"GET {prefix}", 200)
    await ask("GET /jobs/{id}/logs", 200, id=ended)
    await ask("GET /jobs/{id}/logs", 404)
    await ask("GET /jobs/{id}/files", 200, id=ended)
    await ask("GET /jobs/{id}/files", 404)
    await ask("GET /jobs/{id}/attempts", 200, id=ended)
    await ask("GET /jobs/{id}/attempts", 404)
    await ask("GET /jobs/{id}/badge.svg", 200, id=ended)
    await ask("GET /jobs/{id}/badge.svg", 304, id=ended, headers={"If-None-Match": "*"})
    await ask("GET /jobs/{id}/badge.svg", 404)
    await ask("GET /jobs/{id}/files.zip", 200, id=ended)
    await ask("GET /jobs/{id}/files.zip", 404)
    await ask("POST /jobs/{id}/retry", 409, id=waiting)
    await edit_jobs(asking, waiting, ended)
    await ask("DELETE /jobs/{id}", 204, id=waiting)
    await ask("DELETE /jobs/{id}", 404)
    await ask("DELETE /jobs/{id}", 409, id=ended)
    slow = await asking.submit("stop-slowly", {})
    await asking.until(lambda: asking.message_of(slow), "stopping is for others")
    await ask("DELETE /jobs/{id}", 202, id=slow)
    failed = await asking.ended("fail-always")
    await ask("POST /jobs/{id}/retry", 202, id=failed)
    await ask("POST /jobs/{id}/retry", 200, id=failed, headers={"Prefer": "wait=30"})
    await ask("POST /jobs/{id}/retry", 400, id=failed, query="?%ff")
    await ask("POST /jobs/{id}/retry", 404)
    as_json = {"Content-Type": "application/json"}
    await ask("POST /jobs/{id}/retry", 408, id=failed, data=stalled(), headers=as_json)
    await ask("POST /jobs/{id}/retry", 413, id=failed, data=b" " * (BODY_LIMIT_BYTES + 1), headers=as_json)
    await ask("POST /jobs/{id}/retry", 415, id=failed, data=b"{}", headers={"Content-Type": "text/plain"})
    await ask("POST /jobs/{id}/retry", 422, id=failed, json={"input": {"text": 1}})
    key = {"Idempotency-Key": '"again"'}
    again = await ask("POST /jobs/{id}/retry", 202, id=failed, headers=key)
    await ask("GET /jobs/{id}", 200, id=again["jobId"], query={"wait": "30"})
    await ask("DELETE /jobs/{id}", 204, id=again["jobId"], query={"purge": "true"})
    await ask("POST /jobs/{id}/retry", 410, id=failed, headers=key)


async def work(asking: Asking) -> None:
    """Does all jobs of the type without a handler, until it is cancelled."""
    workplace = asking.rooms.service.working._workplace  # its waits do not count
    while True:
        lease = await workplace.claim("read-aloud", None, 50)
        if lease is not None:
            await lease.complete({}, None)


async def claimed(asking: Asking) -> dict[str, str]:
    """The header that names a lease on a new job."""
    await asking.ask("POST /jobs/read-aloud", 202, **with_files("read-aloud", {}))
    assignment = await asking.ask("POST /work/{type}/claim", 200, query={"wait": "30"})
    return {"Headway-Lease": assignment["lease"]}


async def do_jobs_elsewhere(asking: Asking) -> None:
    ask, step, file = asking.ask, "POST /work/{type}", "GET /work/{type}/inputs/{field}"
    written = "PUT /work/{type}/files/{name}"
    await ask(f"{step}/claim", 204)
    await ask(f"{step}/claim", 404, type="nothing")
    with_body = [f"{step}/{name}" for name in ("progress", "logs", "checkpoint", "complete", "fail")]
    lease, no_lease = await claimed(asking), {"Headway-Lease": "hwl_none"}
    for operation in (*with_body, file, written):
        await ask(operation, 400)
        await ask(operation, 404, type="nothing", headers=lease)
        await ask(operation, 409, headers=no_lease)
    for operation in with_body:
        as_json = {**lease, "Content-Type": "application/json"}
        await ask(operation, 408, data=stalled(), headers=as_json)
        await ask(operation, 413, data=BytesIO(b" " * 17_000_000), headers=as_json)
        await ask(operation, 415, data=b"{}", headers={**lease, "Content-Type": "image/png"})
    await ask(written, 200, data=b"Dear reader", headers=lease)
    await ask(written, 408, data=stalled(), headers=lease)
    await ask(written, 413, data=BytesIO(b" " * 100_001), headers=lease)
    await ask(written, 415, data=b"", headers={**lease, "Content-Encoding": "unknown"})
    await ask(f"{step}/logs", 200, json={"lines": []}, headers=lease)
    await ask(f"{step}/progress", 200, json={"done": 1}, headers=lease)
    await ask(f"{step}/checkpoint", 200, json={"page": 1}, headers=lease)
    await ask(file, 200, headers=lease)
    await ask(file, 206, headers={**lease, "Range": "bytes=0-1"})
    await ask(file, 416, headers={**lease, "Range": "bytes=99999-"})
    await ask(f"{step}/complete", 200, json={"result": {}}, headers=lease)
    await ask(f"{step}/fail", 200, json={}, headers=await claimed(asking))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(asking.ask(f"{step}/claim", 200, query={"wait": "50"}))
        await asking.until(asking.requests_that_wait, 1)
        await ask(f"{step}/claim", 429, query={"wait": "50"})
        await ask("POST /jobs/read-aloud", 202, **with_files("read-aloud", {}))
        lease = {"Headway-Lease": (await waiting)["lease"]}
    await ask(f"{step}/complete", 200, json={"result": {}}, headers=lease)


async def edit_jobs(asking: Asking, waiting: str, ended: str) -> None:
    operation, merge_patch = "PATCH /jobs/{id}", {"Content-Type": "application/merge-patch+json"}
    await asking.ask(operation, 200, id=waiting, json={"label": "edited"})
    await asking.ask(operation, 400, id=waiting, data=b"{", headers=merge_patch)
    await asking.ask(operation, 404, json={"label": "edited"})
    await asking.ask(operation, 408, id=waiting, data=stalled(), headers=merge_patch)
    await asking.ask(operation, 409, id=ended, json={"priority": 3})
    await asking.ask(operation, 412, id=waiting, json={}, headers={"If-Match": '"e0"'})
    await asking.ask(operation, 413, id=waiting, data=b" " * (BODY_LIMIT_BYTES + 1), headers=merge_patch)
    await asking.ask(operation, 415, id=waiting, data=b"{}", headers={"Content-Type": "text/plain"})
    await asking.ask(operation, 422, id=waiting, json={"status": "completed"})


async def poll_as_sdks_do(asking: Asking) -> None:
    ask, one = asking.ask, "/v1/jobs/operations/{id}"
    ended = await asking.ended("write-letter")
    waiting = await asking.submit("write-letter", **LATER)
    await ask("GET /operations/{id}", 200, id=ended)
    await ask("GET /operations/{id}", 404)
    await ask("GET /v1/jobs/operations", 200)
    await ask("GET /v1/jobs/operations", 400, query={"surprise": "1"})
    for operation in (f"GET {one}", f"POST {one}:cancel", f"DELETE {one}"):
        await ask(operation, 404)
        await ask(operation, 400, query={"surprise": "1"})
    await ask(f"GET {one}", 200, id=ended)
    await ask(f"DELETE {one}", 409, id=waiting)
    await ask(f"POST {one}:cancel", 200, id=waiting)
    await ask(f"DELETE {one}", 200, id=waiting)


async def look_at_deliveries(asking: Asking) -> None:
    all_of_them, one = "/jobs/{id}/deliveries", "/jobs/{id}/deliveries/{deliveryId}/redeliver"
    with Receiver() as receiver:
        told = await asking.submit("write-letter", webhookUrl=receiver.url())
        await asking.until(asking.undelivered, 0)
        await look_at_what_was_delivered(asking, all_of_them, one, told)
    await asking.ask("GET /webhooks/secret", 200)
    await asking.ask("POST /webhooks/secret/reveal", 200)
    await asking.ask("POST /webhooks/secret/reveal", 410)
    for _ in range(MAX_SECRETS - 1):
        await asking.ask("POST /webhooks/secret/rotate", 201)
    await asking.ask("POST /webhooks/secret/rotate", 409)
    await asking.ask("POST /webhooks/test", 200, json={"url": "http://127.0.0.1:9/"})


async def look_at_what_was_delivered(asking: Asking, all_of_them: str, one: str, told: str) -> None:
    """Each list is read while nothing is being delivered: a delivery changes its ETag."""
    listed = await asking.ask(f"GET {all_of_them}", 200, id=told)
    await asking.ask(f"GET {all_of_them}", 404)
    delivery = listed["deliveries"][0]["deliveryId"]
    await asking.ask(f"POST {one}", 202, id=told, delivery=delivery)
    await asking.ask(f"POST {one}", 404, id=told)
    await asking.until(asking.undelivered, 0)
    await asking.ask("GET /webhooks/deliveries", 200)


async def follow_streams(asking: Asking) -> None:
    ask, one = asking.ask, "GET /jobs/{id}/progress"
    ended = await asking.ended("write-letter")
    waiting = await asking.submit("write-letter", **LATER)
    await ask(one, 404)
    last = (await asking.rooms.store.get("local", ended)).last_seq
    await ask(one, 204, id=ended, headers={"Last-Event-ID": str(last)})
    await ask(one, 200, id=ended)
    await ask("GET /jobs/progress", 200)
    async with asking.client.get(f"/jobs/{waiting}/progress"):
        await asking.until(lambda: asking.status_of(f"/jobs/{waiting}/progress"), 429)
        await ask(one, 429, id=waiting)
        await ask("GET /jobs/progress", 429)
    async with asyncio.TaskGroup() as tasks:
        polling = tasks.create_task(asking.status_of(f"/jobs/{waiting}?wait=50"))
        await asking.until(asking.requests_that_wait, 1)
        for polled in ("/jobs/{id}", "/jobs/{id}/result", "/fuzz/letters/{id}", "/fuzz/letters/{id}/status"):
            await ask(f"GET {polled}", 429, id=waiting, query={"wait": "50"})
        other = await asking.submit("do-nothing", {}, **LATER)
        await ask("GET /fuzz/nothings/{id}/status", 429, id=other, query={"wait": "50"})
        await ask("DELETE /jobs/{id}", 204, id=waiting)
        assert await polling == 200


async def read_results_and_files(asking: Asking, prefix: str) -> None:
    ask = asking.ask
    job_type = "do-nothing" if prefix == "/fuzz/nothings" else "write-letter"
    result = "/jobs/{id}/result" if prefix == "/jobs" else f"{prefix}/{{id}}"
    file = "/jobs/{id}/files/{name}" if prefix == "/jobs" else f"{prefix}/{{id}}/download"
    ended, waiting, cancelled = [
        await asking.ended(job_type, INPUTS[job_type]),
        await asking.submit(job_type, INPUTS[job_type], **LATER),
        await asking.submit(job_type, INPUTS[job_type], **LATER),
    ]
    await ask("DELETE /jobs/{id}", 204, id=cancelled)
    await ask(f"GET {result}", 200, id=ended)
    await ask(f"GET {result}", 404)
    await ask(f"GET {result}", 409, id=waiting)
    await ask(f"GET {result}", 410, id=cancelled)
    if prefix == "/jobs":
        await ask(f"GET {result}", 422, id=await asking.ended("fail-always"))
        await ask(f"DELETE {result}", 404)
        await ask(f"DELETE {result}", 409, id=waiting)
        await ask("GET /jobs/{id}/files.zip", 409, id=waiting)
        await ask("GET /jobs/{id}/files.zip", 410, id=cancelled)
        await ask("GET /jobs/{id}/files.zip", 422, id=await asking.ended("fail-always"))
    else:
        await ask(f"GET {file}", 409, id=waiting)
        await ask(f"GET {file}", 410, id=cancelled)
    named = {"id": ended, "name": "letter.txt"}
    await ask(f"GET {file}", 200, **named)
    await ask(f"GET {file}", 206, **named, headers={"Range": "bytes=0-1"})
    await ask(f"GET {file}", 304, **named, headers={"If-None-Match": "*"})
    await ask(f"GET {file}", 404)
    await ask(f"GET {file}", 412, **named, headers={"If-Match": '"another"'})
    await ask(f"GET {file}", 416, **named, headers={"Range": "bytes=9999-"})
    if prefix == "/jobs":
        await ask(f"DELETE {result}", 204, id=ended)


async def look_at_the_service(asking: Asking) -> None:
    for path in ("/job-types", "/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/docs", "/static/{path}"):
        if path in asking.document["paths"]:
            await asking.ask(f"GET {path}", 200)
    async with asking.client.get("/static/nothing.js") as reply:
        assert reply.status == 404
        asking.seen.add(("GET", "/static/{path}", 404))


async def exceed_a_quota(asking: Asking) -> None:
    await asking.ask("GET /usage", 200)
    await asking.ask("GET /usage", 403, query={"owner": "somebody"})
    repeatable = await asking.ended("fail-always")
    inputs = {operation: input for operation, input, _ in submissions(asking.document)}
    inputs["POST /jobs/actions"] = {"action": "cancel", "ids": [UNKNOWN]}
    await asking.rooms.keys.set_owner_quota("local", Quota(bytes=0))
    for path, operations in asking.document["paths"].items():
        if "507" in operations.get("post", {}).get("responses", {}) and not path.startswith("/uploads"):
            operation = f"POST {path}"
            sent = with_files(operation, inputs.get(operation))
            await asking.ask(operation, 507, id=repeatable if path.endswith("/retry") else "write-letter", **sent)
    await asking.ask("POST /uploads", 507, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "8"})
    await asking.rooms.keys.set_owner_quota("local", None)


async def sign_in_and_out(asking: Asking) -> None:
    key = (await create_key(asking.rooms.keys, CreateKey(name="ann")))["key"]
    asking.key = key
    await asking.ask("GET /session", 200)
    await asking.ask("POST /session", 200, json={"key": key})
    await asking.ask("DELETE /session", 204)
    await asking.ask("GET /metrics", 403, headers={"Authorization": f"Bearer {key}"})
    await asking.ask("GET /work/{type}/inputs/{field}", 403, headers={"Authorization": f"Bearer {key}"})
    waiting = await asking.submit("write-letter", **LATER)
    await asking.ask("POST /jobs/{id}/tickets", 201, id=waiting, json={})
    await asking.ask("POST /jobs/{id}/tickets", 404, json={})
    as_json = {"Content-Type": "application/json"}
    with_bodies = ("POST /session", "POST /jobs/{id}/tickets", "POST /webhooks/secret/rotate", "POST /webhooks/test")
    for operation in with_bodies:
        await asking.ask(operation, 408, id=waiting, data=stalled(), headers=as_json)
        await asking.ask(operation, 413, id=waiting, data=b" " * (BODY_LIMIT_BYTES + 1), headers=as_json)
        await asking.ask(operation, 415, id=waiting, data=b"{}", headers={"Content-Type": "text/plain"})


async def refuse_what_no_operation_takes(asking: Asking) -> None:
    """What can be wrong with any request: its expectation, its query."""
    letter, nothing = await asking.ended("write-letter"), await asking.ended("do-nothing", {})
    for path, operations in asking.document["paths"].items():
        for method, operation in operations.items():
            name, statuses = f"{method.upper()} {path}", operation["responses"].keys()
            one = nothing if path.startswith("/fuzz/nothings") else letter
            await asking.ask(name, 417, headers={"Expect": "the unexpected"})
            await asking.ask(name, 421, headers={"Host": "elsewhere.example"})
            asking.rooms.app[RATES]._failed_sign_ins = Rate(1)
            for status in (401, 429):
                await asking.ask(name, status, headers={"Authorization": "Bearer of no key"})
            if method not in ("get", "head", "options"):
                await asking.ask(name, 403, headers={"Origin": "https://elsewhere.example"})
            exact = filter(str.isdecimal, statuses)
            new = {status for status in exact if (method.upper(), path, int(status)) not in asking.seen}
            if "422" in new:
                await asking.ask(name, 422, id=one, query={"surprise": "1"})
            if "400" in new:
                await asking.ask(name, 400, id=one, query="?%ff")


async def stop(asking: Asking) -> None:
    """What a server that is stopping takes no more."""
    waiting = await asking.submit("write-letter", **LATER)
    asking.rooms.service.admission.stopping = True
    try:
        await asking.ask("GET /readyz", 503)
        await asking.ask("GET /jobs/progress", 503)
        await asking.ask("GET /jobs/{id}/progress", 503, id=waiting)
        for operation, input, _ in submissions(asking.document):
            await asking.ask(operation, 503, id="write-letter", json=input)
        await asking.ask("POST /jobs/batch", 503, json={"jobs": [{}]})
        await asking.ask("POST /work/{type}/claim", 503)
        await asking.ask("POST /jobs/actions", 503, json={"action": "cancel", "ids": [UNKNOWN]})
    finally:
        asking.rooms.service.admission.stopping = False


async def lose_the_record(asking: Asking) -> None:
    """What can be neither read nor written."""

    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(asking.rooms.files.database)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    ended = await asking.ended("fail-always")
    lease = await claimed(asking)
    upload = await asking.upload()
    lost = ("jobs", "sessions", "deliveries", "webhook_secrets", "audit")
    for table in lost:
        rename(table, f"lost_{table}")
    try:
        await asking.ask("POST /session", 503, json={"key": asking.key})
        await asking.ask("POST /work/{type}/checkpoint", 503, json={}, headers=lease)
        shutil.rmtree(asking.rooms.files.root / "incoming")
        await asking.ask("PUT /work/{type}/files/{name}", 503, data=b"Dear reader", headers=lease)
        shutil.rmtree(asking.rooms.files.root / "jobs")
        await asking.ask("GET /work/{type}/inputs/{field}", 503, headers=lease)
        await asking.ask("POST /jobs/{id}/tickets", 503, json={})
        await asking.ask("POST /webhooks/test", 503, json={"url": "http://127.0.0.1:9/"})
        await asking.ask("DELETE /uploads/{uploadId}", 503, upload=upload, headers={"Tus-Resumable": "1.0.0"})
        await asking.ask("PATCH /jobs/{id}", 503, json={})
        for path, operations in asking.document["paths"].items():
            for method, operation in operations.items():
                name = f"{method.upper()} {path}"
                if "503" in operation["responses"] and (method.upper(), path, 503) not in asking.seen:
                    await asking.ask(name, 503, id=ended if path.endswith("/retry") else UNKNOWN, name="x")
    finally:
        for table in lost:
            rename(f"lost_{table}", table)
