"""Jobs of both kinds have slots of their own: neither waits for the other, and tasks have many."""

import os
from pathlib import Path

from headway.settings import Settings

from tests.support.process import ROOT, ServerProcess, eventually
from tests.support.serving import Serving

GATED_JOBS = str(ROOT / "tests" / "job_types" / "gated_jobs.py")
TASKS = 100
QUEUED = 50
"""How many jobs of the blocked kind also wait, with the highest priority, in front of the one that must run."""


def running(server: ServerProcess) -> int:
    count: int = server.request("GET", "/jobs/stats").json["byStatus"]["running"]
    return count


def block(server: ServerProcess, job_type: str, slots: int, gate: Path) -> list[str]:
    """Take all slots of a kind, and queue many more jobs of it. Returns the ids."""
    ids = [server.submit(job_type, {"gate": str(gate)}, "?priority=100") for _ in range(slots + QUEUED)]
    eventually(lambda: running(server) == slots)
    return ids


def test_a_hundred_async_jobs_that_wait_run_at_once_with_nothing_configured(serving: Serving, tmp_path: Path) -> None:
    assert not any(name.startswith("HEADWAY_MAX_") for name in os.environ)
    gate = tmp_path / "gate"
    server = serving(":memory:", "--jobs", GATED_JOBS)
    ids = [server.submit("gated-async", {"gate": str(gate)}) for _ in range(TASKS)]
    eventually(lambda: running(server) == TASKS)
    gate.touch()
    assert {server.wait_for(job_id)["status"] for job_id in ids} == {"completed"}


def test_an_async_job_runs_while_blocked_def_jobs_hold_every_process_slot(serving: Serving, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = serving(":memory:", "--jobs", GATED_JOBS)
    ids = block(server, "gated-process", Settings().max_processes, gate)
    submitted = server.request("POST", "/jobs/noop?priority=-100", {}).json
    assert submitted["queuePosition"] in (1, None)  # 1, or it is running already
    assert server.wait_for(submitted["jobId"])["status"] == "completed"
    assert running(server) == Settings().max_processes
    for job_id in ids:
        server.request("DELETE", f"/jobs/{job_id}")


def test_a_def_job_runs_while_blocked_async_jobs_hold_every_task_slot(serving: Serving, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = serving(":memory:", "--max-tasks", "3", "--jobs", GATED_JOBS)
    block(server, "gated-async", 3, gate)
    job_id = server.submit("steps-process", {"steps": 1, "step_s": 0}, "?priority=-100")
    assert server.wait_for(job_id)["status"] == "completed"
    assert running(server) == 3
    gate.touch()
