"""Lost connections, refusals for now, streams that cannot be had: what a client survives, and what it gives up."""

import asyncio
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from headway.client import (
    AsyncClient,
    Client,
    ClientClosedError,
    GoneError,
    LogEvent,
    ProblemError,
    ServerError,
    ServerUnreachableError,
    StateEvent,
    UnauthorizedError,
    UnavailableError,
)

from tests.client.faults import CutAfter, Fault, FaultyProxy, Lose, Refuse
from tests.client.twins import Opening
from tests.clients.cut import CuttingProxy
from tests.support.process import ServerProcess

NOW = {"Retry-After": "0"}


def test_a_submission_whose_response_is_lost_is_one_job(server: ServerProcess, opening: Opening) -> None:
    label = uuid4().hex
    with FaultyProxy(server.port, Lose(), Lose(), matching="POST") as proxy:
        client = opening(proxy.url)
        job = client.submit("hello", label=label)
        assert [each.id for each in client.jobs(label=label)] == [job.id]
    keys = {seen.headers["Idempotency-Key"] for seen in proxy.requests("POST")}
    assert (len(proxy.requests("POST")), len(keys)) == (3, 1)


def test_files_are_sent_again_from_their_beginning(server: ServerProcess, opening: Opening, tmp_path: Path) -> None:
    (tmp_path / "letters.csv").write_bytes(b"abc")
    with FaultyProxy(server.port, Lose(), matching="POST") as proxy, (tmp_path / "letters.csv").open("rb") as file:
        job = opening(proxy.url).submit("count-bytes", files={"document": file})
        assert job.result() == ["letters.csv", "text/csv", 3]
    assert len(proxy.requests("POST")) == 2


@pytest.mark.parametrize(
    "fault",
    [Refuse(503, "queue-full", NOW), Refuse(429, "too-many-requests", NOW), Refuse(502, body=b"<h1>Bad Gateway</h1>")],
    ids=["queue full", "too many", "a proxy's own"],
)
def test_what_is_refused_for_now_is_sent_again(server: ServerProcess, opening: Opening, fault: Fault) -> None:
    with FaultyProxy(server.port, fault, fault) as proxy:
        assert opening(proxy.url).submit("hello").result() == "hello"


def test_patience_has_an_end(server: ServerProcess, opening: Opening) -> None:
    busy = Refuse(503, "queue-full", {"Retry-After": "3600"})
    with FaultyProxy(server.port, always=busy) as proxy:
        with pytest.raises(UnavailableError) as refused:
            opening(proxy.url).submit("hello")
        assert refused.value.retry_after_s == 3600
        assert len(proxy.seen) == 1
    with pytest.raises(ServerUnreachableError):
        opening(proxy.url, retry_for_s=0.3).submit("hello")


@pytest.mark.parametrize(
    "page", [b"<h1>Please sign in</h1>", b'{"ok": true}', b"[]"], ids=["a page", "other", "a list"]
)
def test_a_response_of_something_else_is_no_job(server: ServerProcess, opening: Opening, page: bytes) -> None:
    with FaultyProxy(server.port, always=Refuse(200, body=page)) as proxy:
        with pytest.raises(ProblemError, match="is it a Headway server"):
            opening(proxy.url).submit("hello")
        assert len(proxy.seen) == 1


def test_an_error_of_the_server_is_not_repeated(server: ServerProcess, opening: Opening) -> None:
    with FaultyProxy(server.port, always=Refuse(500, "internal-error")) as proxy:
        with pytest.raises(ServerError):
            opening(proxy.url).submit("hello")
        assert len(proxy.seen) == 1


def test_a_purge_whose_response_is_lost_is_done(server: ServerProcess, opening: Opening) -> None:
    with FaultyProxy(server.port, Lose(), matching="DELETE") as proxy:
        job = opening(proxy.url).submit("hello")
        job.wait()
        job.purge()
    assert len(proxy.requests("DELETE")) == 2


def test_a_stream_that_is_cut_goes_on_where_it_was(server: ServerProcess, opening: Opening, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = server.submit("two-lines", {"gate": str(gate)})
    with CuttingProxy(server.port, gate) as proxy:
        job = opening(f"http://127.0.0.1:{proxy.port}").get(job_id)
        events = list(job.events())
    assert [event.line.message for event in events if isinstance(event, LogEvent)] == ["first", "second"]
    versions = [event.state.version for event in events if isinstance(event, StateEvent)]
    assert versions == sorted(set(versions))
    assert job.status == "completed"
    assert proxy.resumed_at


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(429, "too-many-streams", {"Retry-After": "9"}),
        Refuse(200, headers={"Content-Type": "text/html"}, body=b"<h1>Please sign in to the Wi-Fi</h1>"),
        Refuse(200, headers={"Content-Type": "text/event-stream"}, body=b"data: what is this\n\n"),
        Refuse(500, "internal-error"),
        Lose(),
    ],
    ids=["too many", "a page", "garbage", "an error", "cut"],
)
def test_without_a_stream_the_job_is_polled(
    server: ServerProcess, opening: Opening, tmp_path: Path, fault: Fault
) -> None:
    gate = tmp_path / "gate"
    if isinstance(fault, Lose):
        gate.touch()  # the stream is lost as a whole, and that needs an end
    with FaultyProxy(server.port, matching="/progress", always=fault) as proxy:
        job = opening(proxy.url).submit("two-lines", {"gate": str(gate)})
        lines = []
        for event in job.events():
            if isinstance(event, LogEvent):
                lines.append(event.line.message)
                gate.touch()
    assert lines == ["first", "second"]
    assert job.status == "completed"


def test_a_download_that_is_cut_goes_on_where_it_was(server: ServerProcess, opening: Opening, tmp_path: Path) -> None:
    with FaultyProxy(server.port, CutAfter(60_000), CutAfter(100_000), matching="/files/") as proxy:
        job = opening(proxy.url).submit("letters-file", {"number": 200_000})
        letters = job.result()
        assert job.files.download("letters.txt", tmp_path).read_text("utf-8") == letters
    ranges = [seen.headers.get("Range", "") for seen in proxy.requests("/files/")]
    assert ranges == ["", "bytes=60000-", "bytes=160000-"]


def test_a_revoked_key_is_no_reason_to_try_again(server: ServerProcess, opening: Opening, tmp_path: Path) -> None:
    with FaultyProxy(server.port, matching="/progress", always=Refuse(401, "unauthorized")) as proxy:
        job = opening(proxy.url).submit("hello")
        with pytest.raises(UnauthorizedError):
            list(job.events())
    assert len(proxy.requests("/progress")) == 1


def test_a_job_whose_end_is_forgotten_is_gone(server: ServerProcess, opening: Opening) -> None:
    stream = Refuse(200, headers={"Content-Type": "text/event-stream"}, body=b'event: gone\ndata: {"jobId":"x"}\n\n')
    with FaultyProxy(server.port, stream, matching="/progress") as proxy:
        job = opening(proxy.url).submit("hello")
        with pytest.raises(GoneError):
            list(job.events())


def test_a_client_that_is_closed_ends_what_its_threads_read(url: str, tmp_path: Path) -> None:
    client = Client(url)
    job = client.submit("two-lines", {"gate": str(tmp_path / "gate")})
    watching, ended = threading.Event(), []

    def watch() -> None:
        try:
            for event in job.events():
                if isinstance(event, LogEvent):
                    watching.set()
        except ClientClosedError as error:
            ended.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    watching.wait()
    client.close()
    thread.join()
    assert len(ended) == 1
    with pytest.raises(ClientClosedError):
        job.refresh()


async def test_a_task_that_is_cancelled_leaves_the_client_whole(url: str, tmp_path: Path) -> None:
    async with AsyncClient(url) as client:
        job = await client.submit("two-lines", {"gate": str(tmp_path / "gate")})
        watching = asyncio.Event()

        async def watch() -> None:
            async for event in job.events():
                if isinstance(event, LogEvent):
                    watching.set()

        for task in (asyncio.create_task(watch()), asyncio.create_task(job.result())):
            await watching.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await job.cancel()).ended


async def test_an_async_client_that_is_closed_ends_its_streams(url: str, tmp_path: Path) -> None:
    client = AsyncClient(url)
    job = await client.submit("two-lines", {"gate": str(tmp_path / "gate")})
    with pytest.raises(ClientClosedError):  # noqa: PT012 - it is closed within
        async for event in job.events():
            if isinstance(event, LogEvent):
                await client.close()
