"""Handlers that allocate, compute, fork and write without end, on a real server: each is ended at its limit."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ROOT, ServerProcess, alive

HUNGRY_JOBS = str(ROOT / "tests" / "job_types" / "hungry_jobs.py")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:", "--jobs", HUNGRY_JOBS, env={"HEADWAY_JOB_MAX_PIDS": "600"}) as running:
        yield running


def error_of(server: ServerProcess, job_type: str, trace: Path) -> Any:
    """The error of a job that is ended; nothing of it is left, its attempt has the error, and the next job runs."""
    job_id = server.submit(job_type, {"trace": str(trace)})
    job = server.wait_for(job_id)
    assert job["status"] == "failed"
    assert not left_of(trace)
    last = server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"][-1]
    assert (last["outcome"], last["error"]) == ("failed", job["error"])
    assert server.wait_for(server.submit("writes-little"))["status"] == "completed"
    return job["error"]


def left_of(trace: Path) -> Sequence[int]:
    """The processes that are left of a job."""
    return [pid for pid in noted(trace) if alive(pid)]


def noted(trace: Path) -> Sequence[int]:
    return [int(line) for line in trace.read_text("ascii").split()] if trace.exists() else []


@pytest.mark.parametrize("job_type", ["allocates", "allocates-in-a-daemon"])
def test_a_handler_that_allocates_without_end_is_ended(server: ServerProcess, tmp_path: Path, job_type: str) -> None:
    error = error_of(server, job_type, tmp_path / "trace")
    assert (error["type"], error["title"]) == ("memory-limit", "The job exceeded its memory limit")
    assert error["detail"].startswith("The limit is 64 MiB, and ")
    assert noted(tmp_path / "trace")


@pytest.mark.parametrize("job_type", ["computes", "computes-in-a-child", "computes-in-children-that-end"])
def test_a_handler_that_computes_without_end_is_ended(server: ServerProcess, tmp_path: Path, job_type: str) -> None:
    error = error_of(server, job_type, tmp_path / "trace")
    assert (error["type"], error["title"]) == ("cpu-limit", "The job exceeded its limit of CPU time")
    assert error["detail"].startswith("The limit is 0.5 s, and ")
    assert noted(tmp_path / "trace")


def test_a_handler_that_forks_five_hundred_processes_is_ended(server: ServerProcess, tmp_path: Path) -> None:
    error = error_of(server, "forks", tmp_path / "trace")
    assert (error["type"], error["title"]) == ("process-limit", "The job exceeded its limit of processes")
    assert error["detail"].startswith("The limit is 20, and there were ")
    assert noted(tmp_path / "trace")


def test_five_hundred_processes_end_with_their_attempt_where_they_are_not_too_many(
    server: ServerProcess, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job = server.wait_for(server.submit("forks-without-a-limit", {"trace": str(trace)}))
    assert (job["status"], job["result"]) == ("completed", 500)
    assert not left_of(trace)


@pytest.mark.parametrize("job_type", ["writes", "writes-as-a-task"])
def test_a_handler_that_writes_without_end_is_ended(server: ServerProcess, tmp_path: Path, job_type: str) -> None:
    error = error_of(server, job_type, tmp_path / "trace")
    assert (error["type"], error["title"]) == ("output-limit", "The job wrote more than it may")
    assert error["detail"].startswith("The limit is 4 MiB, and its directories held ")


def test_a_limit_counts_as_a_failure_of_the_attempt(server: ServerProcess, tmp_path: Path) -> None:
    job_id = server.submit("writes", {"trace": str(tmp_path / "trace")})
    server.wait_for(job_id)
    attempts = server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"]
    assert [attempt["error"]["type"] for attempt in attempts] == ["output-limit", "output-limit"]


def test_an_output_that_is_too_large_fails_the_job_however_quickly_it_was_written(server: ServerProcess) -> None:
    job = server.wait_for(server.submit("writes-and-returns"))
    assert job["error"]["type"] == "output-limit"
    # 5 MiB when it had returned, unless the watcher has looked while it wrote.
    assert re.fullmatch(r"The limit is 4 MiB, and its directories held (4\.\d|5\.0) MiB\.", job["error"]["detail"])
    assert job["files"] == []


def test_each_attempt_in_a_process_that_stays_has_a_limit_of_its_own(server: ServerProcess) -> None:
    jobs = [server.wait_for(server.submit("stays")) for _ in range(3)]
    assert [job["status"] for job in jobs] == ["completed"] * 3
    assert len({job["result"] for job in jobs}) == 1


def test_job_types_publish_their_limits_and_those_of_the_server(server: ServerProcess) -> None:
    types = {each["name"]: each["limits"] for each in server.request("GET", "/job-types").json["jobTypes"]}
    names = ("memoryMib", "cpuSeconds", "maxOutputMib", "maxPids")
    assert [types["forks-without-a-limit"][name] for name in names] == [None, None, None, 600]
    assert [types["writes-little"][name] for name in names] == [512, 60, 4, 5]
    assert [types["writes-as-a-task"][name] for name in names] == [None, None, 4, None]
