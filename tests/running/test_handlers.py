"""Both kinds of handler in a real server: they report, log, stop, and leave nothing behind."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from headway.running.performing import MAX_START_S

from tests.support.process import ServerProcess, alive, calm_s, descendants, eventually
from tests.support.serving import Serving

BOTH_KINDS = pytest.mark.parametrize("job_type", ["steps-async", "steps-process"])


@BOTH_KINDS
def test_both_kinds_of_handler_report_progress(shared_server: ServerProcess, job_type: str) -> None:
    job_id = shared_server.submit(job_type, {"steps": 8, "step_s": 0.15})
    states = list(shared_server.states(job_id))
    seen = [state["done"] for state in states if state["done"] is not None]
    assert len(set(seen)) >= 4
    assert seen == sorted(seen)
    assert {state["unit"] for state in states if state["done"]} == {"steps"}
    assert states[-1]["status"] == "completed"
    assert (states[-1]["progress"], states[-1]["done"], states[-1]["total"]) == (100, 8, 8)


@BOTH_KINDS
def test_both_kinds_of_handler_log(shared_server: ServerProcess, job_type: str) -> None:
    job_id = shared_server.submit(job_type, {"steps": 3})
    shared_server.wait_for(job_id)
    lines = shared_server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
    assert [line["message"] for line in lines] == ["step 1", "step 2", "step 3"]


@BOTH_KINDS
def test_both_kinds_of_handler_stop_when_cancelled(shared_server: ServerProcess, job_type: str) -> None:
    job_id = shared_server.submit(job_type, {"steps": 1000, "step_s": 0.05})
    _until_message(shared_server, job_id)
    assert shared_server.request("DELETE", f"/jobs/{job_id}").status == 204
    job = shared_server.job(job_id)
    assert (job["status"], job["cancelRequested"]) == ("cancelled", True)
    assert job["progress"] < 100


def test_a_process_handler_that_checks_the_flag_ends_by_itself(shared_server: ServerProcess) -> None:
    job_id = shared_server.submit("polite-process")
    _until_message(shared_server, job_id)
    assert shared_server.request("DELETE", f"/jobs/{job_id}").status == 204
    assert shared_server.job(job_id)["status"] == "cancelled"


def test_a_process_handler_that_ignores_cancel_is_killed(shared_server: ServerProcess) -> None:
    job_id = shared_server.submit("stubborn-process")
    pid = _pid(shared_server, job_id)
    reply = shared_server.request("DELETE", f"/jobs/{job_id}")
    assert (reply.status, reply.json["cancelRequested"]) == (202, True)
    assert shared_server.wait_for(job_id)["status"] == "cancelled"
    assert not alive(pid)
    assert "did not stop in time and was killed" in shared_server.log()


def test_a_cancel_ends_what_the_handler_started_too(shared_server: ServerProcess) -> None:
    job_id = shared_server.submit("with-grandchild")
    grandchild = _pid(shared_server, job_id)
    shared_server.request("DELETE", f"/jobs/{job_id}")
    shared_server.wait_for(job_id)
    eventually(lambda: not alive(grandchild))  # killed with its group, it dies when the kernel comes to it


def test_a_child_killed_from_outside_fails_its_job_and_nothing_else(shared_server: ServerProcess) -> None:
    bystander = shared_server.submit("steps-process", {"steps": 5, "step_s": 0.1})
    job_id = shared_server.submit("polite-process")
    os.kill(_pid(shared_server, job_id), signal.SIGKILL)
    job = shared_server.wait_for(job_id)
    assert (job["status"], job["error"]["type"]) == ("failed", "process-died")
    assert "signal 9" in job["error"]["detail"]
    assert shared_server.wait_for(bystander)["status"] == "completed"


def test_an_async_handler_that_swallows_cancellation_loses_its_slot(serving: Serving) -> None:
    server = serving(":memory:", "--max-tasks", "1", env={"HEADWAY_CANCEL_GRACE_S": "0.3"})
    job_id = server.submit("stubborn-async")
    _until_message(server, job_id)
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204
    assert server.job(job_id)["status"] == "cancelled"
    next_id = server.submit("noop")
    assert server.wait_for(next_id)["status"] == "completed"
    assert "swallowed its cancellation" in server.log()
    assert server.stop() == 0, server.log()


def test_an_async_handler_that_blocks_the_loop_is_named_in_the_log(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("blocks-the-loop", {"step_s": 2.0})
    server.wait_for(job_id)
    named = eventually(lambda: [line for line in server.log().splitlines() if "blocks the event loop" in line])
    assert len(named) == 1
    assert "blocks-the-loop" in named[0]
    assert "jobs_for_tests.py" in named[0]


def test_a_time_limit_ends_both_kinds(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_CANCEL_GRACE_S": "0.5"})
    ids = [
        server.submit(job_type, {"steps": 1000, "step_s": 0.05}, "?timeoutSeconds=0.4")
        for job_type in ("steps-async", "steps-process")
    ]
    for job_id in ids:
        job = server.wait_for(job_id)
        assert (job["status"], job["error"]["type"]) == ("failed", "timeout")


def test_a_stalled_job_is_stopped(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_CANCEL_GRACE_S": "0.5"})
    job_id = server.submit("stalls", {"steps": 4, "step_s": 0.5})
    job = server.wait_for(job_id)
    took = datetime.fromisoformat(job["completedAt"]) - datetime.fromisoformat(job["startedAt"])
    assert took.total_seconds() < MAX_START_S  # what a process is given to begin is not given to a silent handler
    assert (job["status"], job["error"]["type"]) == ("failed", "stalled")
    assert (job["done"], job["total"]) == (4, 4)  # each report began the wait anew


@pytest.mark.parametrize("job_type", ["picky", "picky-async"])
def test_an_exception_in_no_retry_is_not_retried(shared_server: ServerProcess, job_type: str) -> None:
    job = shared_server.wait_for(shared_server.submit(job_type, {"text": "gone"}))
    assert (job["status"], job["attempt"], job["maxAttempts"]) == ("failed", 1, 5)
    assert job["error"]["detail"] == "KeyError: 'gone'"


def test_a_types_own_queue_is_bounded(shared_server: ServerProcess) -> None:
    running = shared_server.submit("short-queue", {"step_s": 60})
    shared_server.wait_for(running, "running")
    waiting = [shared_server.submit("short-queue") for _ in range(2)]
    reply = shared_server.request("POST", "/jobs/short-queue", {})
    assert (reply.status, reply.json["type"]) == (503, "/problems/queue-full")
    assert int(reply.headers["Retry-After"]) >= 1
    assert shared_server.submit("noop")
    for job_id in [*waiting, running]:
        assert shared_server.request("DELETE", f"/jobs/{job_id}").status == 204


def test_handlers_that_print_do_not_disturb_stdout(serving: Serving) -> None:
    server = serving()
    server.wait_for(server.submit("raises", {"text": "no traceback for clients"}))
    assert server.stop() == 0
    assert server.process.stdout is not None
    assert server.process.stdout.read() == b""
    assert "no traceback for clients" in server.log()


def test_no_child_outlives_a_killed_server_by_a_second(serving: Serving) -> None:
    server = serving()
    stubborn = server.submit("stubborn-process")
    parent = server.submit("with-grandchild")
    pids = [_pid(server, stubborn), _pid(server, parent), *descendants(server.process.pid)]
    server.kill()
    killed_s = calm_s()
    eventually(lambda: not any(alive(pid) for pid in pids), "a child outlived the server")
    assert calm_s() - killed_s < 1


@pytest.mark.slow
def test_not_even_a_child_that_holds_its_interpreter_outlives_a_killed_server(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("holds-the-interpreter")
    pid = _pid(server, job_id)
    eventually(lambda: _cpu_s(pid) > 1.0)  # by then it is in the expression
    server.kill()
    killed_s = calm_s()
    eventually(lambda: not alive(pid), "the child outlived the server")
    assert calm_s() - killed_s < 1


@pytest.mark.parametrize("job_type", ["cancels-itself", "cancels-itself-process"])
def test_a_handler_that_cancels_itself_has_failed(shared_server: ServerProcess, job_type: str) -> None:
    job = shared_server.wait_for(shared_server.submit(job_type))
    assert (job["status"], job["cancelRequested"], job["error"]["type"]) == ("failed", False, "handler-error")


def test_a_type_runs_no_more_jobs_at_once_than_it_allows(shared_server: ServerProcess) -> None:
    ids = [shared_server.submit("one-at-a-time", {"steps": 2, "step_s": 0.05}) for _ in range(3)]
    spans = []
    for job_id in ids:
        job = shared_server.wait_for(job_id)
        spans.append((job["startedAt"], job["completedAt"]))
    ordered = sorted(spans)
    assert all(ended <= started for (_, ended), (started, _) in pairwise(ordered))


def test_a_job_is_not_started_before_its_run_at(shared_server: ServerProcess) -> None:
    at = time.time() + 1.0
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"
    job_id = shared_server.submit("noop", query=f"?runAt={text}")
    assert shared_server.job(job_id)["status"] == "queued"
    job = shared_server.wait_for(job_id)
    assert job["startedAt"] >= job["runAt"] == text


def _messages(server: ServerProcess, job_id: str) -> Iterator[Any]:
    return (state["message"] for state in server.states(job_id) if state["message"])


def _until_message(server: ServerProcess, job_id: str) -> str:
    """The first message that the handler reports."""
    return str(next(_messages(server, job_id)))


def _pid(server: ServerProcess, job_id: str) -> int:
    """The process that the handler named in its message."""
    return int(_until_message(server, job_id).removeprefix("pid "))


def _cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
