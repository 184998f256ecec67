"""Every status that the description promises is produced here, once for each operation, and no other."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from headway.app import Rooms, opened
from headway.authoring.loading import load_job_types
from headway.operating.keys import CreateKey, create_key
from headway.quotas import Quota
from headway.settings import Settings
from headway.web.identity.rates import RATES, Rate
from headway.web.openapi import Description

from tests.support.serving import UNKNOWN

JOBS = Path(__file__).parents[2] / "fuzz" / "jobs_to_fuzz.py"
LATER = {"runAt": "2099-01-01T00:00:00Z"}
LETTER = {"text": "Dear reader"}
INPUTS: Mapping[str, Any] = {
    "write-letter": LETTER,
    "grow-tree": {"name": "oak"},
    "fail-always": LETTER,
    "count-papers": {"pages": 2},
    "do-nothing": {},
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
        path = template.format(
            id=options.pop("id", UNKNOWN),
            name=options.pop("name", "letter.txt"),
            path="app.js",
            deliveryId=options.pop("delivery", UNKNOWN),
        )
        suffix = query if isinstance(query, str) else ""
        params = None if isinstance(query, str) else query
        async with self.client.request(method, path + suffix, params=params, allow_redirects=False, **options) as reply:
            body = b"" if reply.content_type == "text/event-stream" else await reply.read()
            assert reply.status == status, (operation, status, reply.status, body)
            described = self.document["paths"][template][method.lower()]["responses"][str(status)]
            always = {name for name, header in described["headers"].items() if header.get("required", True)}
            assert always <= reply.headers.keys(), (operation, status)
            self.seen.add((method, template, status))
            return await reply.json() if reply.content_type == "application/json" else body

    async def submit(self, job_type: str, input: Any = LETTER, **query: str) -> str:
        """A job's id."""
        job = await self.ask(f"POST /jobs/{job_type}", 202, json=input, query=query)
        return str(job["jobId"])

    async def ended(self, job_type: str, input: Any = LETTER) -> str:
        """The id of a job that has ended."""
        job_id = await self.submit(job_type, input)
        await self.ask("GET /jobs/{id}", 200, id=job_id, query={"wait": "30"})
        return job_id

    async def message_of(self, job_id: str) -> str | None:
        return (await self.rooms.store.get("local", job_id)).progress.message

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
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    settings = Settings(
        data_dir=str(tmp_path / "data"),
        max_body_bytes=BODY_LIMIT_BYTES,
        body_timeout_s=0.5,
        max_streams_per_client=1,
        webhook_allow=("127.0.0.1",),
        max_waits_per_client=1,
    )
    registry = load_job_types([str(JOBS)])
    document = Description(registry, settings).document()
    async with opened(settings, registry) as rooms, TestClient(TestServer(rooms.app)) as client:
        yield Asking(client, rooms, document)
        rooms.hub.close()  # what streams wait for at shutdown


@pytest.mark.slow
async def test_every_documented_status_is_produced(asking: Asking) -> None:
    for operation, input, query in submissions(asking.document):
        await submit_in_every_way(asking, operation, input, query)
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
        if "count-papers" not in operation:
            return {"json": input}
        form = FormData({"input": '{"pages": 2}'})
        form.add_field("letter", b"Dear reader", filename="letter.txt")
        return {"data": form}

    job = await asking.ask(operation, 202, **named, **sent(), headers=key)
    await asking.ask(operation, 200, **named, **sent(), headers={"Prefer": "wait=30"})
    await asking.ask("GET /jobs/{id}", 200, id=job["jobId"], query={"wait": "30"})
    await asking.ask("DELETE /jobs/{id}", 204, id=job["jobId"], query={"purge": "true"})
    await asking.ask(operation, 410, **named, **sent(), headers=key)
    await asking.ask(operation, 400, **named, json=input, query="?%ff")
    json = {"Content-Type": "application/json"}
    await asking.ask(operation, 400, **named, data=b"{", headers=json)
    await asking.ask(operation, 413, **named, data=b" " * (BODY_LIMIT_BYTES + 1), headers=json)
    await asking.ask(operation, 415, **named, data=b"{}", headers={"Content-Type": "text/plain"})
    await asking.ask(operation, 422, **named, json={"surprise": 1})
    await asking.ask(operation, 408, **named, data=stalled(), headers=json)
    if not by_query:
        await asking.ask(operation, 404, json={"type": "nothing", "input": {}})
    if operation == "POST /jobs/{id}":
        await asking.ask(operation, 404, id="nothing", json=input)


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
    await ask("POST /jobs/{id}/retry", 409, id=ended)
    key = {"Idempotency-Key": '"again"'}
    again = await ask("POST /jobs/{id}/retry", 202, id=failed, headers=key)
    await ask("GET /jobs/{id}", 200, id=again["jobId"], query={"wait": "30"})
    await ask("DELETE /jobs/{id}", 204, id=again["jobId"], query={"purge": "true"})
    await ask("POST /jobs/{id}/retry", 410, id=failed, headers=key)


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
    told = await asking.submit("write-letter", webhookUrl="http://127.0.0.1:9/")
    await asking.ask("GET /jobs/{id}", 200, id=told, query={"wait": "30"})
    listed = await asking.ask(f"GET {all_of_them}", 200, id=told)
    await asking.ask(f"GET {all_of_them}", 404)
    delivery = listed["deliveries"][0]["deliveryId"]
    await asking.ask(f"POST {one}", 202, id=told, delivery=delivery)
    await asking.ask(f"POST {one}", 404, id=told)


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
    await asking.rooms.keys.set_owner_quota("local", Quota(bytes=0))
    for path, operations in asking.document["paths"].items():
        if "507" in operations.get("post", {}).get("responses", {}):
            operation = f"POST {path}"
            form = FormData({"input": '{"pages": 2}'})
            form.add_field("letter", b"Dear reader", filename="letter.txt")
            sent = {"data": form} if "count-papers" in path else {"json": inputs.get(operation)}
            await asking.ask(operation, 507, id=repeatable if path.endswith("/retry") else "write-letter", **sent)
    await asking.rooms.keys.set_owner_quota("local", None)


async def sign_in_and_out(asking: Asking) -> None:
    key = (await create_key(asking.rooms.keys, CreateKey(name="ann")))["key"]
    asking.key = key
    await asking.ask("GET /session", 200)
    await asking.ask("POST /session", 200, json={"key": key})
    await asking.ask("DELETE /session", 204)
    await asking.ask("GET /metrics", 403, headers={"Authorization": f"Bearer {key}"})
    waiting = await asking.submit("write-letter", **LATER)
    await asking.ask("POST /jobs/{id}/tickets", 201, id=waiting, json={})
    await asking.ask("POST /jobs/{id}/tickets", 404, json={})
    json = {"Content-Type": "application/json"}
    for operation in ("POST /session", "POST /jobs/{id}/tickets"):
        await asking.ask(operation, 408, id=waiting, data=stalled(), headers=json)
        await asking.ask(operation, 413, id=waiting, data=b" " * (BODY_LIMIT_BYTES + 1), headers=json)
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
            if method != "get":
                await asking.ask(name, 403, headers={"Origin": "https://elsewhere.example"})
            new = {status for status in statuses if (method.upper(), path, int(status)) not in asking.seen}
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
    finally:
        asking.rooms.service.admission.stopping = False


async def lose_the_record(asking: Asking) -> None:
    """What can be neither read nor written."""

    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(asking.rooms.files.database)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    ended = await asking.ended("fail-always")
    rename("jobs", "lost")
    rename("sessions", "lost_too")
    try:
        await asking.ask("POST /session", 503, json={"key": asking.key})
        await asking.ask("POST /jobs/{id}/tickets", 503, json={})
        for path, operations in asking.document["paths"].items():
            for method, operation in operations.items():
                name = f"{method.upper()} {path}"
                if "503" in operation["responses"] and (method.upper(), path, 503) not in asking.seen:
                    await asking.ask(name, 503, id=ended if path.endswith("/retry") else UNKNOWN, name="x")
    finally:
        rename("lost", "jobs")
        rename("lost_too", "sessions")
