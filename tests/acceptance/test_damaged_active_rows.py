"""Damaged rows of what a server is about to change: jobs that ran or waited, counts, quotas, keys."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.damage import BLOB, DAMAGE, NOT_UTF_8, copies, put, record
from tests.support.keys import keys, make_key
from tests.support.process import ServerProcess, eventually, run_command
from tests.support.serving import Serving, ended

WHOLE_NUMBERS = ("attempt", "failures", "recoveries", "priority", "run_at", "last_seq", "state_seq", "version", "bytes")
ACTIVE_DAMAGE: list[tuple[str, Any]] = [
    *(way for way in DAMAGE if way[0] not in ("status", "completed_at", "expires_at")),
    *((column, value) for column in WHOLE_NUMBERS for value in ("no number", None, 2**63 - 1, -(2**63), 1.5)),
    *(("turn", value) for value in (BLOB, "no number", 2**63 - 1)),
    *(("retain_s", value) for value in (BLOB, None, "no number")),
    *(("timeout_s", value) for value in (BLOB, "no number")),
    *((column, BLOB) for column in ("cancel_requested", "purge_requested", "max_attempts", "key_id", "checkpoint")),
    ("type", NOT_UTF_8),
    ("attempt", 0),
]
LOST = {"type", "input", "checkpoint", "failures", "recoveries", "cancel_requested", "purge_requested", "max_attempts"}
"""The columns without which nobody knows whether a job may run again."""
BAD_INPUT = [way for way in ACTIVE_DAMAGE if way[0] == "input" and isinstance(way[1], str)]


def damage_active(data_dir: Path, running: str, queued: str) -> tuple[list[str], list[str]]:
    """Copies of both jobs, damaged in each way; those of the queued one are due. Their ids."""
    with record(data_dir) as connection:
        ran = copies(connection, running, len(ACTIVE_DAMAGE))
        waited = copies(connection, queued, len(ACTIVE_DAMAGE))
        connection.execute("UPDATE jobs SET run_at = 1 WHERE status = 'queued'")
        for job_id, (column, value) in zip([*ran, *waited], ACTIVE_DAMAGE * 2, strict=True):
            put(connection, f"jobs.{column}", value, job_id)
        connection.execute("UPDATE counts SET jobs = jobs + ? WHERE status IN ('running', 'queued')", (len(ran),))
    return ran, waited


def jobs_of(server: ServerProcess) -> dict[str, Any]:
    jobs: dict[str, Any] = {}
    query = "limit=200"
    while query:
        page = server.request("GET", f"/jobs?{query}").json
        jobs |= {job["jobId"]: job for job in page["jobs"]}
        query = page["nextCursor"] and f"limit=200&cursor={page['nextCursor']}"
    return jobs


def settled(server: ServerProcess, job_ids: list[str]) -> dict[str, Any]:
    """All jobs, once none of these is queued."""
    known = [job_id for job_id, (column, _) in zip(job_ids, ACTIVE_DAMAGE * 2, strict=True) if column != "type"]
    eventually(lambda: "queued" not in {job["status"] for job_id, job in jobs_of(server).items() if job_id in known})
    return jobs_of(server)


def test_damaged_jobs_that_ran_or_waited_end_or_run_again(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    running = server.submit("steps-async", {"steps": 1_000, "step_s": 1})
    server.wait_for(running, "running")
    queued = server.submit("says", {"text": "hello"}, "?runAt=2099-01-01T00:00:00Z")
    server.kill()
    ran, waited = damage_active(tmp_path, running, queued)
    server = serving(tmp_path)
    server.wait_for(running, "running")
    assert server.wait_for(queued)["status"] == "completed"
    ended(server, "says", {"text": "hello"})
    jobs = settled(server, [*ran, *waited])
    for job_id, (column, value) in zip(ran, ACTIVE_DAMAGE, strict=True):
        error = (jobs[job_id]["error"] or {}).get("type")
        if (column, value) in BAD_INPUT:
            assert error == "invalid-input", value
        elif column in LOST and value is not NOT_UTF_8:
            assert error == "damaged-record", (column, value)
        elif column not in ("error", "type"):
            assert jobs[job_id]["status"] == "running", (column, value)
    for job_id, (column, value) in zip(waited, ACTIVE_DAMAGE, strict=True):
        if column not in ("input", "type", "error", "checkpoint"):
            assert jobs[job_id]["status"] == "completed", (column, value)
    for job_id in [*ran, *waited]:
        assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status in (202, 204)
    eventually(lambda: jobs_of(server).keys().isdisjoint([*ran, *waited]))
    log = server.log()
    named = Counter(job_id for job_id in [*ran, *waited] for line in log.splitlines() if f"row={job_id}" in line)
    assert set(named.values()) == {1}, "once each"
    assert log.count("Traceback") == log.count("the attempt could not be performed") == 1, "the queued job's checkpoint"


def test_damaged_counts_quotas_and_receivers_hold_up_no_submission(serving: Serving, tmp_path: Path) -> None:
    make_key(tmp_path, "reader", "--read-only")
    server = serving(tmp_path, "--insecure")
    first = ended(server, "says", {"text": "hello"})
    assert server.stop() == 0
    with record(tmp_path) as connection:
        connection.execute("UPDATE counts SET jobs = ? WHERE status = 'completed'", (BLOB,))
        connection.execute("UPDATE counts SET bytes = 'many' WHERE status = 'queued'")
        connection.execute("INSERT INTO counts VALUES (?, '', 'says', 'queued', 1, 1)", (BLOB,))
        connection.execute("INSERT INTO quotas VALUES ('owner', 'mallory', ?, NULL, 5, NULL)", (BLOB,))
        connection.execute("INSERT INTO receivers VALUES ('local', 'example.org', ?, ?)", (BLOB, "noon"))
        connection.execute("UPDATE api_keys SET admin = ?, read_only = ?", (BLOB, BLOB))
    server = serving(tmp_path, "--insecure")
    second = ended(server, "says", {"text": "hello"})
    assert jobs_of(server).keys() == {first, second}
    assert server.request("GET", "/jobs/stats").status == 200
    doctor = run_command("doctor", "--data-dir", str(tmp_path))
    assert doctor.stdout.count("the counts say") == 1, "of the owner who is nobody; the others were counted again"
    assert "read-only" in keys(tmp_path, "list").stdout
    assert "admin" not in keys(tmp_path, "list").stdout, "what cannot be read gives no right"
    usage = run_command("usage", "--data-dir", str(tmp_path))
    assert (usage.returncode, usage.stderr) == (0, "")
    assert "Traceback" not in server.log()
