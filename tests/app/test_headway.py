"""The server as an object, as an embedding program uses it: a real record and real files, HTTP only where asked for."""

import asyncio
import math
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from headway import Context, Headway, Job, Settings, Status, Upload, job
from headway.errors import (
    InvalidError,
    JobHasFailedError,
    JobNotFoundError,
    JobStateError,
    JobTypeError,
    JobTypeNotFoundError,
    KeyReusedError,
    NotFinishedError,
    SetupError,
)
from pydantic import BaseModel

from tests.support.process import WAIT_TIMEOUT_S

JOBS = str(Path(__file__).parents[1] / "job_types" / "jobs_for_tests.py")
UNKNOWN = "01890000-0000-7000-8000-000000000000"


class Doubling(BaseModel):
    number: int


class Reading(BaseModel):
    document: Upload


@job("doubling")
async def doubling(ctx: Context, input: Doubling) -> int:
    async for _ in ctx.track(range(input.number)):
        pass
    return 2 * input.number


@job("reading")
async def reading(ctx: Context, input: Reading) -> dict[str, object]:
    return {"text": input.document.path.read_text(), "type": input.document.content_type}


@job("patient")
async def patient(ctx: Context) -> None:
    await asyncio.sleep(WAIT_TIMEOUT_S * 10)


@job("never-works")
async def never_works(ctx: Context) -> None:
    raise ValueError("as expected")


TYPES: list[Callable[..., Any]] = [doubling, reading, patient, never_works]


@pytest.fixture(autouse=True)
def _logging_is_configured() -> Iterator[None]:
    """Otherwise the server would configure it for the whole process."""
    structlog.configure()
    yield
    structlog.reset_defaults()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Headway]:
    async with Headway(Settings(data_dir=str(tmp_path / "data")), TYPES) as made:
        yield made


async def test_a_submitted_job_is_queued_and_waiting_for_it_gives_its_end_and_result(server: Headway) -> None:
    submitted = await server.submit("doubling", {"number": 21}, label="the answer")
    assert (submitted.status, submitted.label, submitted.owner) == (Status.QUEUED, "the answer", "local")
    ended = await server.wait(submitted.id)
    assert (ended.id, ended.status) == (submitted.id, Status.COMPLETED)
    assert await server.result(submitted.id) == 42
    assert await server.get(submitted.id) == ended


async def test_an_input_may_be_a_model(server: Headway) -> None:
    submitted = await server.submit("doubling", Doubling(number=4))
    await server.wait(submitted.id)
    assert await server.result(submitted.id) == 8


async def test_every_version_up_to_the_end_can_be_watched(server: Headway) -> None:
    submitted = await server.submit("doubling", {"number": 3})
    versions = [version async for version in server.watch(submitted.id)]
    assert versions[-1].status is Status.COMPLETED
    numbers = [version.version for version in versions]
    assert numbers == sorted(set(numbers))


async def test_a_wait_ends_with_its_time(server: Headway) -> None:
    submitted = await server.submit("patient")
    waited = await server.wait(submitted.id, timeout_s=0.01)
    assert not waited.terminal
    with pytest.raises(NotFinishedError):
        await server.result(submitted.id)


async def test_the_limits_on_waiting_clients_are_not_the_programs(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), max_waits=1, max_waits_per_client=1)
    async with Headway(settings, TYPES) as server:
        submitted = await server.submit("patient")
        waits = [asyncio.create_task(server.wait(submitted.id)) for _ in range(3)]
        await server.cancel(submitted.id)
        assert {ended.status for ended in await asyncio.gather(*waits)} == {Status.CANCELLED}


async def test_a_slow_reader_of_versions_ends_with_its_server(tmp_path: Path) -> None:
    async with Headway(Settings(data_dir=str(tmp_path)), TYPES) as server:
        versions = server.watch((await server.submit("patient")).id)
        assert not (await anext(versions)).terminal
    assert [version async for version in versions] == []


async def test_a_job_can_be_cancelled(server: Headway) -> None:
    submitted = await server.submit("patient")
    await server.cancel(submitted.id)
    assert (await server.wait(submitted.id)).status is Status.CANCELLED
    done = await server.wait((await server.submit("doubling", {"number": 1})).id)
    with pytest.raises(JobStateError):
        await server.cancel(done.id)


async def test_files_become_uploads_and_stay_where_they_are(server: Headway, tmp_path: Path) -> None:
    document = tmp_path / "notes.txt"
    document.write_text("hello")
    submitted = await server.submit("reading", files={"document": document})
    assert submitted.uploads[0].filename == "notes.txt"
    await server.wait(submitted.id)
    assert await server.result(submitted.id) == {"text": "hello", "type": "text/plain"}
    assert document.read_text() == "hello"
    assert list((tmp_path / "data" / "incoming").iterdir()) == []


async def test_a_file_may_have_a_name_that_is_not_text(server: Headway, tmp_path: Path) -> None:
    document = tmp_path / os.fsdecode(b"\xff.txt")
    document.write_text("hello")
    submitted = await server.submit("reading", files={"document": document})
    assert submitted.uploads[0].filename == "\N{REPLACEMENT CHARACTER}.txt"


async def test_files_have_at_most_the_bytes_of_an_upload(tmp_path: Path) -> None:
    document = tmp_path / "notes.txt"
    document.write_text("hello")
    settings = Settings(data_dir=str(tmp_path / "data"), max_upload_bytes=5)
    async with Headway(settings, TYPES) as server:
        await server.submit("reading", files={"document": document})
        document.write_text("hello!")
        with pytest.raises(InvalidError) as refused:
            await server.submit("reading", files={"document": document})
        assert refused.value.errors == [("/document", "is too large: a job's files have at most 5 bytes in all")]
        assert list((tmp_path / "data" / "incoming").iterdir()) == []


@pytest.mark.parametrize("field", ["", "../outside", "a/b", "."])
async def test_a_file_is_copied_for_a_field_and_nowhere_else(server: Headway, tmp_path: Path, field: str) -> None:
    document = tmp_path / "notes.txt"
    document.write_text("hello")
    with pytest.raises(InvalidError):
        await server.submit("reading", files={field: document})
    assert list((tmp_path / "data" / "incoming").iterdir()) == []


async def test_an_idempotency_key_leads_to_the_first_job(server: Headway, tmp_path: Path) -> None:
    first = await server.submit("doubling", {"number": 1}, idempotency_key="a")
    assert (await server.submit("doubling", {"number": 1}, idempotency_key="a")).id == first.id
    with pytest.raises(KeyReusedError):
        await server.submit("doubling", {"number": 2}, idempotency_key="a")
    document = tmp_path / "notes.txt"
    document.write_text("hello")
    read = await server.submit("reading", files={"document": document}, idempotency_key="b")
    assert (await server.submit("reading", files={"document": document}, idempotency_key="b")).id == read.id
    document.write_text("bye")
    with pytest.raises(KeyReusedError):
        await server.submit("reading", files={"document": document}, idempotency_key="b")


async def test_what_is_not_valid_is_refused_with_its_place(server: Headway) -> None:
    with pytest.raises(InvalidError) as raised:
        await server.submit("doubling", {"number": "x"})
    assert [pointer for pointer, _ in raised.value.errors] == ["/number"]
    for refused in ({"number": math.nan}, {"number": "\ud800"}, {"number": object()}):
        with pytest.raises(InvalidError):
            await server.submit("doubling", refused)
    no_object: Any = [1]
    with pytest.raises(InvalidError):
        await server.submit("doubling", no_object)
    with pytest.raises(InvalidError) as raised:
        await server.submit("doubling", {"number": 1}, priority=1000)
    assert [pointer for pointer, _ in raised.value.errors] == ["/priority"]
    with pytest.raises(InvalidError) as raised:
        await server.submit("doubling", {"number": 1}, webhook_url="ftp://example.com")
    assert [pointer for pointer, _ in raised.value.errors] == ["/webhookUrl"]
    with pytest.raises(JobTypeNotFoundError):
        await server.submit("tripling", {"number": 1})
    with pytest.raises(JobNotFoundError):
        await server.get(UNKNOWN)


async def test_a_job_can_be_put_off(server: Headway) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    submitted = await server.submit("doubling", {"number": 1}, run_at=tomorrow, timeout_s=5, retain_s=60, priority=3)
    assert abs(submitted.run_at - tomorrow) < timedelta(milliseconds=1)
    assert (submitted.timeout_s, submitted.retain_s, submitted.priority) == (5, 60, 3)


async def test_jobs_of_every_owner_are_seen(server: Headway) -> None:
    submitted = await server.submit("doubling", {"number": 1}, owner="alice")
    assert (await server.wait(submitted.id)).owner == "alice"


@pytest.mark.parametrize("owner", ["*", "", "\ud800"])
async def test_an_owner_has_a_name(server: Headway, owner: str) -> None:
    """And none has the name that stands for all of them."""
    with pytest.raises(InvalidError) as raised:
        await server.submit("doubling", {"number": 1}, owner=owner)
    assert [pointer for pointer, _ in raised.value.errors] == ["/owner"]


async def test_a_failure_is_reported_and_can_be_read(tmp_path: Path) -> None:
    failures: asyncio.Queue[tuple[Job, BaseException | None]] = asyncio.Queue()

    async def on_failure(job: Job, error: BaseException | None) -> None:
        await failures.put((job, error))

    async with Headway(Settings(data_dir=str(tmp_path)), TYPES, on_failure=on_failure) as server:
        submitted = await server.submit("never-works")
        failed, error = await failures.get()
        assert (failed.id, failed.status) == (submitted.id, Status.FAILED)
        assert isinstance(error, ValueError)
        with pytest.raises(JobHasFailedError):
            await server.result(submitted.id)


async def test_its_application_answers_over_http(server: Headway) -> None:
    submitted = await server.submit("doubling", {"number": 5})
    async with TestClient(TestServer(server.app())) as client:
        reply = await client.get(f"/jobs/{submitted.id}", params={"wait": "30"})
        assert (reply.status, (await reply.json())["result"]) == (200, 10)


async def test_interrupted_jobs_go_on_at_the_next_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    async with Headway(settings, TYPES) as server:
        submitted = await server.submit("patient")
        async for version in server.watch(submitted.id):
            if version.status is Status.RUNNING:
                break
    async with Headway(settings, TYPES) as server:
        async for version in server.watch(submitted.id):
            if version.attempt == 2:
                break
        await server.cancel(submitted.id)


async def test_it_can_be_used_again_and_not_outside_its_block(tmp_path: Path) -> None:
    server = Headway(Settings(data_dir=str(tmp_path)), TYPES)
    with pytest.raises(RuntimeError, match="async with"):
        await server.submit("doubling", {"number": 1})
    for _ in range(2):
        async with server:
            assert (await server.wait((await server.submit("doubling", {"number": 1})).id)).terminal
            with pytest.raises(RuntimeError, match="open already"):
                await server.__aenter__()
    with pytest.raises(RuntimeError):
        server.app()


def test_only_decorated_functions_and_modules_are_job_types() -> None:
    with pytest.raises(JobTypeError, match="not decorated"):
        Headway(Settings(), [len])
    with pytest.raises(SetupError, match="no module"):
        Headway(Settings(), ["no_such_module"])
    names = {job_type.name for job_type in Headway(Settings(), [JOBS, doubling])._registry}
    assert {"steps-process", "doubling"} <= names
    assert "ping" not in names


SCRIPT = """
import asyncio
from headway import BlockingContext, Headway, Settings, job

@job("tripling")
def tripling(ctx: BlockingContext) -> int:
    return 3 * 7

async def main() -> None:
    async with Headway(Settings(data_dir=":memory:"), [tripling]) as server:
        job = await server.wait((await server.submit("tripling")).id)
        print(job.status, await server.result(job.id), flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_script_can_run_def_handlers_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "demo.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=True)
    assert done.stdout == "completed 21\n"  # the log is on stderr
    assert "attempt ended" in done.stderr


SERVING = SCRIPT.replace(
    '    async with Headway(Settings(data_dir=":memory:"), [tripling]) as server:\n'
    '        job = await server.wait((await server.submit("tripling")).id)\n'
    "        print(job.status, await server.result(job.id), flush=True)\n",
    '    settings = Settings(data_dir=":memory:", port=0)\n'
    "    await Headway(settings, [tripling]).serve(lambda address: print(address, flush=True))\n"
    '    print("stopped", flush=True)\n',
)


def test_a_script_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    script = tmp_path / "demo.py"
    script.write_text(SERVING)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert any(line.startswith("http://127.0.0.1:") for line in lines)
        process.send_signal(signal.SIGTERM)
        assert list(lines)[-1] == "stopped\n"
        assert process.wait(WAIT_TIMEOUT_S) == 0


WITH_HANDLERS_OF_ITS_OWN = """
import asyncio, signal, sys
from headway import Headway, Settings

async def main() -> None:
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "loop":
        loop.add_signal_handler(signal.SIGTERM, print, "loop")
    else:
        signal.signal(signal.SIGTERM, lambda *_: print("process"))
    server = Headway(Settings(data_dir=":memory:", port=0), [])
    await server.serve(lambda address: print(address, flush=True))
    print("stopped", flush=True)
    await asyncio.sleep(3_600)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["process", "loop"])
def test_a_program_has_its_own_signal_handlers_again_when_it_has_served(tmp_path: Path, kind: str) -> None:
    script = tmp_path / "demo.py"
    script.write_text(WITH_HANDLERS_OF_ITS_OWN)
    command = [sys.executable, "-u", str(script), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopped\n"
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == f"{kind}\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_TIMEOUT_S) == -signal.SIGINT, "asyncio's handler raises KeyboardInterrupt"
