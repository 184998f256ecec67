"""Hostile handlers of both kinds on a real server: each end is recorded with its reason, the next job runs, and no
process is left, whether the attempt ends by itself, by a cancel, a time-out or a purge, or because the server stops.

An `async def` handler is in the server's own process. What ends that, ends the server; then the restart records it.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from headway.limits import LOG_BURST_LINES, LOG_LINES_PER_SECOND

from tests.support.process import ROOT, ServerProcess, alive, descendants, eventually
from tests.support.serving import Serving

HOSTILE_JOBS = str(ROOT / "tests" / "job_types" / "hostile_jobs.py")
GRACE = {"HEADWAY_CANCEL_GRACE_S": "0.2", "HEADWAY_SHUTDOWN_GRACE_S": "0.2"}

DEATHS = {
    ("async", "exits"): "SystemExit: 3",
    ("async", "raises_no_exception"): "Unheard: nobody hears this",
    ("async", "recurses"): "RecursionError: maximum recursion depth exceeded",
    ("async", "raises_what_cannot_be_read"): "OddError",
    ("async", "raises_a_long_chain"): "ValueError: the last of many",
    ("process", "raises_what_cannot_be_read"): "OddError",
    ("process", "raises_a_long_chain"): "ValueError: the last of many",
    ("process", "exits"): "SystemExit: 3",
    ("process", "raises_no_exception"): "Unheard: nobody hears this",
    ("process", "recurses"): "RecursionError: maximum recursion depth exceeded",
    ("process", "ends_the_process"): "code 7",
    ("process", "segfaults"): "signal 11",
    ("process", "closes_its_descriptors"): "closed the server's socket",
    ("process", "dies_before_its_child"): "signal 9",
}
"""A part of the reason that clients are given."""
EXITS_ELSEWHERE = {
    "exits_in_a_callback": "SystemExit: 3",
    "is_interrupted_in_a_timer": "KeyboardInterrupt: nobody pressed it",
    "exits_when_a_future_is_done": "SystemExit: 3",
    "exits_in_the_end_of_a_generator": "SystemExit: 3",
}
AGAINST_THE_LOOP = {
    "sets_a_task_factory": "set_task_factory()",
    "shuts_down_generators": "shutdown_asyncgens()",
    "shuts_down_threads": "shutdown_default_executor()",
    "stops_the_loop": "stop()",
}
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
NEVER_ENDING = [
    *LEFT_BEHIND,
    ("async", "nothing"),
    ("process", "nothing"),
    ("process", "stops"),
    ("process", "leaves_its_group"),
]


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


def test_neither_a_thread_nor_a_task_of_a_handler_holds_up_a_shutdown(serving: Serving, tmp_path: Path) -> None:
    env = {**GRACE, "HOSTILE_FOLDER": str(tmp_path)}
    hostile = Hostile(serving(tmp_path / "data", "--jobs", HOSTILE_JOBS, env=env), tmp_path)
    waiting = [hostile.at_its_worst("async", "fills_its_threads")]
    assert hostile.server.stop() == 0
    assert "exiting although threads or tasks of handlers have not ended" in hostile.server.log()
    assert f"'job:hostile-async:{waiting[0]}_0'" in hostile.server.log()
    hostile.server.restart()
    waiting.append(hostile.at_its_worst("async", "nothing"))
    assert hostile.server.stop() == 0
    assert "the handler swallowed its cancellation and was abandoned" in hostile.server.log()
    assert f"tasks=['job:hostile-async:{waiting[1]}']" in hostile.server.log()
    hostile.server.restart()
    for job_id in waiting:
        job = hostile.server.wait_for(job_id)
        assert (job["status"], job["result"]) == ("completed", 2)


def test_a_handler_that_cancels_all_tasks_ends_neither_the_server_nor_other_jobs(
    serving: Serving, tmp_path: Path
) -> None:
    hostile = Hostile(serving(":memory:", "--jobs", HOSTILE_JOBS, env={"HOSTILE_FOLDER": str(tmp_path)}), tmp_path)
    server = hostile.server
    others = [hostile.at_its_worst(kind, "nothing") for kind in ("async", "process")]
    assert server.wait_for(hostile.submit("async", "cancels_all_tasks"))["status"] == "completed"
    assert [server.job(job_id)["status"] for job_id in others] == ["running", "running"]
    hostile.goes_on()
    assert server.request("GET", "/readyz").status == 200
    assert server.stop() == 0


def test_what_a_handler_has_left_behind_does_not_flood_the_log(serving: Serving, tmp_path: Path) -> None:
    env = {**GRACE, "HOSTILE_FOLDER": str(tmp_path)}
    hostile = Hostile(serving(":memory:", "--jobs", HOSTILE_JOBS, env=env), tmp_path)
    started = time.monotonic()
    assert hostile.server.wait_for(hostile.submit("async", "leaves_a_flood"))["status"] == "completed"

    def dropped() -> int:
        found = re.findall(r" (\S+) lines were dropped: code of no running handler", hostile.server.log())
        return sum(int(number.replace(",", "")) for number in found)

    eventually(lambda: dropped() > LOG_BURST_LINES)
    log = hostile.server.log()
    by = [log.count(f"flooded by a {what}") for what in ("task\n", "record", "task that failed", "thread")]
    one_limit = LOG_BURST_LINES + LOG_LINES_PER_SECOND * (time.monotonic() - started)
    assert sum(by) <= 2 * one_limit  # that of the job while it runs, and that of what it has left behind
    hostile.goes_on()


def test_what_a_process_writes_past_print_has_limits_in_the_log(serving: Serving, tmp_path: Path) -> None:
    env = {**GRACE, "HOSTILE_FOLDER": str(tmp_path)}
    hostile = Hostile(serving(":memory:", "--jobs", HOSTILE_JOBS, "--log-format", "json", env=env), tmp_path)
    assert hostile.server.wait_for(hostile.submit("process", "writes_without_end"))["status"] == "completed"
    log = hostile.server.log()
    assert "\x1b" not in log
    events = [json.loads(line)["event"] for line in log.splitlines()]
    found = [re.fullmatch(r"(\S+) lines were dropped: a job's process wrote too many", event) for event in events]
    dropped = sum(int(each[1].replace(",", "")) for each in found if each)
    assert 0 < len([event for event in events if event.startswith("flooded")]) < dropped
    hostile.goes_on()


def test_a_log_that_a_process_cannot_write_is_no_failure_of_its_job(hostile: Hostile) -> None:
    job_id = hostile.submit("process", "cannot_write_the_log")
    assert hostile.server.wait_for(job_id)["status"] == "completed"
    lines = hostile.server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
    assert [line["message"] for line in lines] == ["lost", "lost too"]
    hostile.goes_on()


def test_a_handler_that_fills_its_threads_holds_up_neither_others_nor_files(hostile: Hostile) -> None:
    server, filling = hostile.server, hostile.at_its_worst("async", "fills_its_threads")
    report = server.upload("csv-report", {"file": b"a,b\n1,2\n"})
    assert server.wait_for(report)["files"][0]["name"] == "report.html"
    assert server.request("GET", f"/jobs/{report}/files/report.html").status == 200
    assert server.job(filling)["status"] == "running"
    server.request("DELETE", f"/jobs/{filling}")
    assert server.wait_for(filling)["status"] == "cancelled"
    server.wait_for(server.submit("ping"))


@pytest.mark.parametrize(("act", "raised"), EXITS_ELSEWHERE.items())
def test_what_wants_to_end_the_server_from_outside_its_handler_fails_the_job_or_is_logged(
    hostile: Hostile, act: str, raised: str
) -> None:
    job = hostile.server.wait_for(hostile.submit("async", act))
    if job["status"] == "completed":
        eventually(lambda: f"  {raised}" in hostile.server.log())
    else:
        assert job["error"]["detail"] == raised
    hostile.goes_on()


@pytest.mark.parametrize(("act", "method"), AGAINST_THE_LOOP.items())
def test_a_handler_that_turns_against_the_event_loop_has_failed(hostile: Hostile, act: str, method: str) -> None:
    job = hostile.server.wait_for(hostile.submit("async", act))
    assert job["status"] == "failed"
    assert method in job["error"]["detail"]
    report = hostile.server.upload("csv-report", {"file": b"a,b\n1,2\n"})
    assert hostile.server.wait_for(report)["status"] == "completed"
    hostile.goes_on()


@pytest.mark.parametrize("act", ["stops_its_nursery", "stops_its_keeper", "stops_both"])
def test_a_handler_that_stops_what_it_was_forked_from_holds_up_neither_others_nor_a_shutdown(
    serving: Serving, tmp_path: Path, act: str
) -> None:
    env = {"HOSTILE_FOLDER": str(tmp_path), "HEADWAY_SHUTDOWN_GRACE_S": "0.2", "HEADWAY_MAX_PROCESSES": "2"}
    hostile = Hostile(serving(tmp_path / "data", "--jobs", HOSTILE_JOBS, env=env), tmp_path)
    other = hostile.at_its_worst("process", "nothing")
    job = hostile.server.wait_for(hostile.submit("process", act))
    assert (job["status"], job["result"]) == ("completed", 1)
    hostile.goes_on()
    hostile.server.request("DELETE", f"/jobs/{other}")
    hostile.server.wait_for(other)
    running = hostile.at_its_worst("process", act)
    family = descendants(hostile.server.process.pid)
    assert hostile.server.stop() == 0
    eventually(lambda: not any(alive(pid) for pid in family))
    hostile.server.restart()
    job = hostile.server.wait_for(running)
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
