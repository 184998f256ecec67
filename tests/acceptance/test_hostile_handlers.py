"""Hostile handlers of both kinds on a real server: each end is recorded with its reason, the next job runs, and no
process is left, whether the attempt ends by itself, by a cancel, a time-out or a purge, or because the server stops.

An `async def` handler is in the server's own process. What ends that, ends the server; then the restart records it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.process import ROOT, ServerProcess, alive, eventually
from tests.support.serving import Serving

HOSTILE_JOBS = str(ROOT / "tests" / "job_types" / "hostile_jobs.py")
GRACE = {"HEADWAY_CANCEL_GRACE_S": "0.2", "HEADWAY_SHUTDOWN_GRACE_S": "0.2"}

DEATHS = {
    ("async", "exits"): "SystemExit: 3",
    ("async", "raises_no_exception"): "Unheard: nobody hears this",
    ("async", "recurses"): "RecursionError: maximum recursion depth exceeded",
    ("process", "exits"): "SystemExit: 3",
    ("process", "raises_no_exception"): "Unheard: nobody hears this",
    ("process", "recurses"): "RecursionError: maximum recursion depth exceeded",
    ("process", "ends_the_process"): "code 7",
    ("process", "segfaults"): "signal 11",
    ("process", "closes_its_descriptors"): "",
    ("process", "dies_before_its_child"): "signal 9",
}
"""A part of the reason that clients are given."""
LEFT_BEHIND = [
    ("async", "starts_a_program"),
    ("async", "starts_a_program_that_stops"),
    ("process", "forks"),
    ("process", "starts_a_daemon"),
    ("process", "starts_a_daemon_in_a_session"),
    ("process", "starts_a_child_that_stops"),
]
TIME_LIMITS_S = (1, 4, 16, 64)
"""The next one counts if a busy machine took longer until a job had done its harm."""
NEVER_ENDING = [*LEFT_BEHIND, ("async", "nothing"), ("process", "nothing"), ("process", "stops")]


class Hostile:
    """A server with hostile handlers."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def submit(self, kind: str, act: str, query: str = "", *, goes_on: bool = False) -> str:
        return self.server.submit(f"hostile-{kind}", {"act": act, "goes_on": goes_on}, query)

    def was_at_its_worst(self, job_id: str) -> bool:
        """Whether it has done the harm that it can."""
        return (self.folder / f"{job_id}.ready").exists()

    def at_its_worst(self, kind: str, act: str) -> str:
        """A job that has done the harm that it can, and runs."""
        job_id = self.submit(kind, act, goes_on=True)
        eventually(lambda: self.was_at_its_worst(job_id))
        return job_id

    def pids(self, job_id: str) -> set[int]:
        """The processes that the job has had."""
        with suppress(FileNotFoundError):
            return {int(pid) for pid in (self.folder / job_id).read_text().split()}
        return set()

    def left(self, *job_ids: str) -> set[int]:
        return {pid for job_id in job_ids for pid in self.pids(job_id) if alive(pid)}

    def goes_on(self) -> None:
        """The next jobs of both kinds run."""
        for kind in ("process", "async"):
            assert self.server.wait_for(self.submit(kind, "nothing"))["status"] == "completed"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """One slot of each kind: a job that kept one would keep the next job out."""
    folder = tmp_path_factory.mktemp("hostile")
    slots = ("--max-tasks", "1", "--max-processes", "1")
    env = {**GRACE, "HOSTILE_FOLDER": str(folder)}
    with ServerProcess(":memory:", "--jobs", HOSTILE_JOBS, *slots, env=env) as server:
        yield Hostile(server, folder)


@pytest.mark.parametrize(("kind", "act"), DEATHS)
def test_a_handler_that_breaks_down_has_failed_with_its_reason(hostile: Hostile, kind: str, act: str) -> None:
    job_id = hostile.submit(kind, act)
    job = hostile.server.wait_for(job_id)
    assert job["status"] == "failed"
    assert DEATHS[kind, act] in job["error"]["detail"]
    assert job["error"]["title"]
    assert not hostile.left(job_id)
    hostile.goes_on()


@pytest.mark.parametrize(("kind", "act"), LEFT_BEHIND)
def test_when_a_job_has_completed_nothing_that_it_started_is_left(hostile: Hostile, kind: str, act: str) -> None:
    job_id = hostile.submit(kind, act)
    assert hostile.server.wait_for(job_id)["status"] == "completed"
    assert hostile.pids(job_id)
    assert not hostile.left(job_id)
    hostile.goes_on()


@pytest.mark.parametrize(("kind", "act"), NEVER_ENDING)
def test_when_a_job_is_cancelled_nothing_of_it_is_left(hostile: Hostile, kind: str, act: str) -> None:
    job_id = hostile.at_its_worst(kind, act)
    hostile.server.request("DELETE", f"/jobs/{job_id}")
    assert hostile.server.wait_for(job_id)["status"] == "cancelled"
    assert not hostile.left(job_id)
    hostile.goes_on()


@pytest.mark.parametrize(("kind", "act"), NEVER_ENDING)
def test_when_a_job_has_timed_out_nothing_of_it_is_left(hostile: Hostile, kind: str, act: str) -> None:
    for limit_s in TIME_LIMITS_S:
        job_id = hostile.submit(kind, act, f"?timeoutSeconds={limit_s}", goes_on=True)
        job = hostile.server.wait_for(job_id)
        assert (job["status"], job["error"]["type"]) == ("failed", "timeout")
        assert not hostile.left(job_id)
        if hostile.was_at_its_worst(job_id):
            assert hostile.pids(job_id) or (kind, act) == ("async", "nothing")
            return hostile.goes_on()
    pytest.fail("it has never done the harm that it can before its time limit")


@pytest.mark.parametrize(("kind", "act"), NEVER_ENDING)
def test_when_a_job_is_purged_nothing_of_it_is_left(hostile: Hostile, kind: str, act: str) -> None:
    job_id = hostile.at_its_worst(kind, act)
    hostile.server.request("DELETE", f"/jobs/{job_id}?purge=true")
    eventually(lambda: hostile.server.request("GET", f"/jobs/{job_id}").status == 404)
    eventually(lambda: not hostile.left(job_id))
    hostile.goes_on()


def test_when_the_server_stops_nothing_of_any_job_is_left(serving: Serving, tmp_path: Path) -> None:
    slots = ("--max-processes", str(len(NEVER_ENDING)))
    env = {**GRACE, "HOSTILE_FOLDER": str(tmp_path)}
    hostile = Hostile(serving(tmp_path / "data", "--jobs", HOSTILE_JOBS, *slots, env=env), tmp_path)
    ids = [hostile.at_its_worst(kind, act) for kind, act in NEVER_ENDING]
    assert len(hostile.left(*ids)) > len(ids)
    assert hostile.server.stop() == 0
    assert not hostile.left(*ids)
    hostile.server.restart()
    for job_id in ids:
        job = hostile.server.wait_for(job_id)
        assert (job["status"], job["result"]) == ("completed", 2)


@pytest.mark.parametrize("act", ["ends_the_process", "segfaults"])
def test_a_handler_that_ends_its_server_has_failed_after_as_many_crashes_as_allowed(
    serving: Serving, tmp_path: Path, act: str
) -> None:
    os.mkfifo(tmp_path / "gate")
    env = {"HOSTILE_FOLDER": str(tmp_path), "HEADWAY_MAX_RECOVERIES": "1"}
    server = serving(tmp_path / "data", "--jobs", HOSTILE_JOBS, env=env)
    job_id = server.submit("kills-its-server", {"act": act})
    for _ in range(2):
        server.wait_for(job_id, "running")
        (tmp_path / "gate").write_bytes(b"")
        assert server.process.wait() != 0
        server.restart()
    job = server.wait_for(job_id)
    assert (job["status"], job["attempt"], job["error"]["type"]) == ("failed", 2, "interrupted")
    Hostile(server, tmp_path).goes_on()
