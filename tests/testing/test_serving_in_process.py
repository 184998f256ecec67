"""`serve`: a real server in this process, whose time the test moves."""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from headway import Context, job
from headway.errors import SetupError
from headway.testing import Clock, Server, serve
from structlog import is_configured

from tests.support.process import eventually
from tests.support.serving import TEST_JOBS


@job("kit-here")
async def here(ctx: Context) -> int:
    print("in the loop")
    return os.getpid()


@job("kit-sleeps", timeout_s=3600)
async def sleeps(ctx: Context) -> None:
    await asyncio.sleep(100_000)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    with Clock() as clock:
        yield clock


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[Server]:
    with serve([here, sleeps, str(TEST_JOBS)]) as server:
        yield server


def ended(server: Server, job_type: str, query: str = "", input: dict[str, Any] | None = None) -> dict[str, Any]:
    wait = {"Prefer": "wait=50"}
    url = f"{server.url}/jobs/{job_type}{query}"
    found: dict[str, Any] = httpx.post(url, json=input or {}, headers=wait, timeout=60).json()
    return found


def test_async_handlers_run_in_this_process_and_def_handlers_in_their_own(server: Server) -> None:
    assert ended(server, "kit-here")["result"] == os.getpid()
    assert ended(server, "steps-process", input={"steps": 1})["result"] == {"steps": 1}


def test_it_keeps_to_itself(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_job_whose_time_has_come_is_run(server: Server, clock: Clock) -> None:
    job = httpx.post(f"{server.url}/jobs/kit-here?runAt=2099-01-01T00:00:00Z", json={}).json()
    assert job["status"] == "queued"
    clock.advance(75 * 366 * 86_400)
    assert httpx.get(f"{server.url}/jobs/{job['jobId']}?wait=50", timeout=60).json()["status"] == "completed"


def test_what_has_expired_is_deleted(server: Server, clock: Clock) -> None:
    url = f"{server.url}/jobs/{ended(server, 'kit-here', '?retainSeconds=3600')['jobId']}"
    clock.advance(3500)
    assert httpx.get(url).status_code == 200
    clock.advance(200)
    eventually(lambda: httpx.get(url).status_code == 404)


def test_a_time_limit_passes(server: Server, clock: Clock) -> None:
    job = httpx.post(f"{server.url}/jobs/kit-sleeps", json={}).json()
    url = f"{server.url}/jobs/{job['jobId']}"
    eventually(lambda: httpx.get(url).json()["status"] == "running")
    clock.advance(3601)
    assert httpx.get(f"{url}?wait=50", timeout=60).json()["error"]["type"] == "timeout"


def test_it_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    before = (sys.getswitchinterval(), gc.get_threshold(), threading.active_count(), sys.stdout, is_configured())
    with serve([here], max_tasks=1) as server:
        url = server.url
        assert ended(server, "kit-here")["status"] == "completed"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert before == (
        sys.getswitchinterval(), gc.get_threshold(), threading.active_count(), sys.stdout, is_configured()
    )  # fmt: skip
    assert capsys.readouterr().err == ""


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(SetupError, match="no module 'no_such_jobs'"), serve(["no_such_jobs"]):
        pass
    with (
        pytest.raises(SetupError, match="is in use"),
        serve([here]) as server,
        serve([here], port=int(server.url.rsplit(":", 1)[1])),
    ):
        pass


def test_the_environment_of_who_tests_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_PORT", "1")
    monkeypatch.setenv("HEADWAY_MAX_TASKS", "0")
    monkeypatch.setenv("HEADWAY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HEADWAY_API_KEY", "hwk_of-another-server")
    with serve([here]) as server:
        assert not server.url.endswith(":1")
        assert server.client.submit(here).result() == os.getpid()
