"""kill -9 and restart on a real data directory: nothing accepted is lost, nothing is done twice."""

import csv
import io
import sqlite3
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, alive, descendants, eventually
from tests.support.serving import Serving

ROWS = 120_000


@pytest.fixture(scope="module")
def orders() -> bytes:
    """A CSV file whose first column numbers its rows."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "customer", "amount"])
    writer.writerows((number, f"customer {number % 997}", f"{number / 7:.2f}") for number in range(ROWS))
    return text.getvalue().encode()


def test_an_import_resumes_after_kill_9_and_has_every_row_exactly_once(
    serving: Serving, tmp_path: Path, orders: bytes
) -> None:
    server = serving(tmp_path)
    job_id = server.upload("csv-import", {"file": orders})
    _until_progress(server, job_id, 20)
    children = descendants(server.process.pid)
    server.kill()
    eventually(lambda: not any(alive(pid) for pid in children), "a child outlived the server")
    server.restart()
    job = server.wait_for(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 2)
    assert job["result"] == {"rows": ROWS, "rejected": 0}
    log = [line["message"] for line in server.request("GET", f"/jobs/{job_id}/logs").json["lines"]]
    assert any("resumed" in message.lower() for message in log), log
    assert _ids(server, job_id, tmp_path) == (ROWS, ROWS, 0, ROWS - 1)


def test_an_accepted_job_survives_kill_9_right_after_its_202(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("steps-async", {"steps": 3})
    server.kill()
    server.restart()
    assert server.wait_for(job_id)["status"] == "completed"


def test_a_version_never_runs_backwards_over_a_crash(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("steps-process", {"steps": 100, "step_s": 0.05})
    last = _until_progress(server, job_id, 10)
    server.kill()
    server.restart()
    states = server.states(job_id)
    first = next(states)
    assert first["version"] > last
    versions = [first["version"], *(state["version"] for state in states)]
    assert versions == sorted(set(versions))


def test_a_checkpoint_is_restored_after_a_crash(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("checkpoints", {"steps": 12, "step_s": 0.1})
    _until_progress(server, job_id, 40)
    server.kill()
    server.restart()
    job = server.wait_for(job_id)
    assert job["attempt"] == 2
    taken = job["result"]
    # At least once: only the step between its side effect and its checkpoint may occur twice.
    assert sorted(set(taken)) == list(range(12))
    assert len(taken) <= 13


def test_a_recorded_cancel_takes_effect_after_a_crash(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("stubborn-process")
    next(state for state in server.states(job_id) if state["message"])
    assert server.request("DELETE", f"/jobs/{job_id}").status == 202
    server.kill()
    server.restart()
    job = server.job(job_id)
    assert (job["status"], job["attempt"]) == ("cancelled", 1)


def test_a_recorded_purge_takes_effect_after_a_crash(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("stubborn-process")
    next(state for state in server.states(job_id) if state["message"])
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 202
    server.kill()
    server.restart()
    assert server.request("GET", f"/jobs/{job_id}").status == 404
    eventually(lambda: not (tmp_path / "jobs" / job_id).exists())


def test_an_interruption_by_a_graceful_stop_is_not_counted_as_a_failure(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("steps-async", {"steps": 60, "step_s": 0.05})
    for _ in range(5):
        _until_progress(server, job_id, 0)
        assert server.stop() == 0, server.log()
        server.restart()
    job = server.wait_for(job_id)
    assert job["status"] == "completed"
    assert job["attempt"] <= job["maxAttempts"]


def test_a_job_that_crashes_the_server_too_often_is_failed(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, env={"HEADWAY_MAX_RECOVERIES": "2"})
    job_id = server.submit("steps-async", {"steps": 100_000, "step_s": 0.05})
    for _ in range(3):
        _until_progress(server, job_id, 0)
        server.kill()
        server.restart()
    job = server.job(job_id)
    assert (job["status"], job["error"]["type"], job["attempt"]) == ("failed", "interrupted", 3)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_a_job_that_must_not_run_twice_has_failed_after_a_restart(serving: Serving, tmp_path: Path, kill: bool) -> None:
    server = serving(tmp_path)
    job_id = server.submit("never-twice")
    next(state for state in server.states(job_id) if state["message"])
    if kill:
        server.kill()
    else:
        assert server.stop() == 0
    server.restart()
    job = server.job(job_id)
    assert (job["status"], job["error"]["type"], job["attempt"]) == ("failed", "interrupted", 1)


def _until_progress(server: ServerProcess, job_id: str, percent: float) -> int:
    """Wait until the job has made this much progress. Returns the last version seen."""
    for state in server.states(job_id):
        if state["status"] == "running" and (state["progress"] or 0) >= percent and state["done"] is not None:
            return int(state["version"])
    raise AssertionError(f"the job ended first: {server.job(job_id)}")


def _ids(server: ServerProcess, job_id: str, folder: Path) -> tuple[int, ...]:
    """Download the imported table. Returns its rows, distinct ids, smallest and largest id."""
    database = folder / "downloaded.sqlite"
    database.write_bytes(server.request("GET", f"/jobs/{job_id}/files/import.sqlite").body)
    connection = sqlite3.connect(database)
    try:
        row = connection.execute("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM data").fetchone()
    finally:
        connection.close()
    return tuple(row)
