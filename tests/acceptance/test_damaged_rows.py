"""A record with damaged rows, made by hand: what can be read of them is served, and everything else as ever."""

import sqlite3
from collections import Counter
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

from tests.support.damage import BLOB, DAMAGE, NO_INSTANT, NOT_UTF_8, SURROGATE, copied, copies, put, record
from tests.support.keys import bearer, keys, make_key
from tests.support.process import ServerProcess, eventually, run_command
from tests.support.receiver import Receiver
from tests.support.serving import Serving

DAMAGED_LINES = [
    *((0, "info", "not UTF-8"), (0, "info", BLOB), (0, BLOB, "a line"), (0, "loud", "a line")),
    *((NO_INSTANT, "info", "a line"), ("noon", "info", "a line")),
]
DAMAGED_DELIVERIES: list[tuple[str, Any]] = [
    *(("event", value) for value in ("job.exploded", BLOB)),
    *(("url", value) for value in ("no URL", BLOB)),
    *((column, BLOB) for column in ("body", "attempts", "tries", "last_error", "last_status")),
    *((column, NO_INSTANT) for column in ("created_at", "last_attempt_at")),
]


def damaged_in_every_way(data_dir: Path, job_id: str) -> list[str]:
    """The ids of copies of this job, one for each of `DAMAGE`; the log of the last one is damaged too."""
    with record(data_dir) as connection:
        made = copies(connection, job_id, len(DAMAGE))
        for copy, (column, value) in zip(made, DAMAGE, strict=True):
            put(connection, f"jobs.{column}", value, copy)
        for seq, (at, level, message) in enumerate(DAMAGED_LINES, 100):
            connection.execute("INSERT INTO history VALUES (?, ?, ?, 'log', ?, ?)", (made[-1], seq, at, level, message))
        connection.execute("UPDATE history SET message = CAST(? AS TEXT) WHERE seq = 100", (NOT_UTF_8,))
        put(connection, "jobs.last_seq", 105, made[-1])
        connection.execute("INSERT INTO counts VALUES ('local', '', 'says', 'exploded', 1, 0)")
        connection.execute("UPDATE counts SET jobs = jobs + ? WHERE status = 'completed'", (len(made),))
    return made


def listed(server: ServerProcess) -> list[Any]:
    """All jobs, page by page."""
    jobs, query = [], "limit=7"
    while query:
        page = server.request("GET", f"/jobs?{query}").json
        jobs += page["jobs"]
        query = page["nextCursor"] and f"limit=7&cursor={page['nextCursor']}"
    return jobs


def a_completed_job(server: ServerProcess) -> str:
    job_id = server.submit("says", {"text": "hello"}, "?label=whole")
    server.wait_for(job_id)
    return job_id


def test_of_damaged_jobs_what_can_be_read_is_served_and_all_others_as_ever(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    whole = a_completed_job(server)
    as_it_was = server.request("GET", f"/jobs/{whole}").json
    assert server.stop() == 0
    damaged = damaged_in_every_way(tmp_path, whole)
    server = serving(tmp_path)
    jobs = {job["jobId"]: job for job in listed(server)}
    assert jobs.keys() == {whole, *damaged}
    assert server.request("GET", f"/jobs/{whole}").json == as_it_was
    for job_id, way in zip(damaged, DAMAGE, strict=True):
        for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/logs", f"/jobs/{job_id}/progress"):
            assert server.request("GET", path).status == 200, (path, way)
        assert server.request("GET", f"/jobs/{job_id}/result").status in (200, 410, 500), way
    exploded = jobs[damaged[DAMAGE.index(("status", "exploded"))]]
    assert (exploded["status"], exploded["error"]["type"]) == ("failed", "damaged-record")
    assert jobs[damaged[DAMAGE.index(("error", SURROGATE))]]["error"]["title"] == "a�"
    assert (jobs[damaged[-2]]["label"], jobs[damaged[-1]]["message"]) == ("a�b", "a�b")
    lines = server.request("GET", f"/jobs/{damaged[-1]}/logs").json["lines"][-6:]
    assert [line["message"] for line in lines] == ["a�b", "��\0blob", *["a line"] * 4]
    for path in ("/jobs/stats", "/metrics", "/readyz"):
        assert server.request("GET", path).status == 200
    followed = takewhile(lambda event: event.name != "ready", server.events("/jobs/progress"))
    assert whole in {event.data["jobId"] for event in followed}
    log = server.log()
    said = Counter(job_id for job_id in damaged for line in log.splitlines() if f"row={job_id}" in line)
    assert set(said.values()) == {1}, "once each"
    quiet = {way for job_id, way in zip(damaged, DAMAGE, strict=True) if job_id not in said}
    assert quiet == {("error", SURROGATE)}, "it is cleaned like one of today"
    assert "Traceback" not in log


def test_damaged_jobs_expire_and_are_purged_like_others(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    whole = a_completed_job(server)
    assert server.stop() == 0
    damaged = damaged_in_every_way(tmp_path, whole)
    with record(tmp_path) as connection:
        for job_id in damaged[::2]:
            put(connection, "jobs.expires_at", 1, job_id)
    server = serving(tmp_path)
    eventually(lambda: {job["jobId"] for job in listed(server)} <= {whole, *damaged[1::2]})
    for job_id, way in zip(damaged[1::2], DAMAGE[1::2], strict=True):
        assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 204, way
    assert [job["jobId"] for job in listed(server)] == [whole]
    assert "Traceback" not in server.log()


def delivered(server: ServerProcess, job_id: str) -> list[Any]:
    deliveries = server.request("GET", f"/jobs/{job_id}/deliveries").json["deliveries"]
    return [delivery for delivery in deliveries if delivery["status"] == "delivered"]


def test_a_damaged_delivery_does_not_stop_the_others(serving: Serving, tmp_path: Path) -> None:
    env = {"HEADWAY_WEBHOOK_ALLOW": "127.0.0.0/8"}
    with Receiver() as receiver:
        server = serving(tmp_path, env=env)
        envelope = {"type": "noop", "webhookUrl": receiver.url(), "webhookEvents": ["job.completed"]}
        job_id = server.request("POST", "/jobs", envelope).json["jobId"]
        (delivery,) = eventually(lambda: delivered(server, job_id))
        assert server.stop() == 0
        with record(tmp_path) as connection:
            made = [
                copied(connection, "deliveries", delivery["deliveryId"]) for _ in range(len(DAMAGED_DELIVERIES) + 1)
            ]
            connection.execute(
                "UPDATE deliveries SET status = 'pending', due_at = 1, ended_at = NULL WHERE id <> ?",
                (delivery["deliveryId"],),
            )
            for copy, (column, value) in zip(made, DAMAGED_DELIVERIES, strict=False):
                put(connection, f"deliveries.{column}", value, copy)
        server = serving(tmp_path, env=env)
        eventually(lambda: made[-1] in {received.id for received in receiver.received})
        shown = server.request("GET", f"/jobs/{job_id}/deliveries").json["deliveries"]
        assert {delivery["deliveryId"] for delivery in shown} == {delivery["deliveryId"], *made}


def test_a_damaged_key_is_no_obstacle_for_the_others(serving: Serving, tmp_path: Path) -> None:
    good, bad, revoked = (make_key(tmp_path, name) for name in ("good", "bad", "revoked"))
    with record(tmp_path) as connection:
        connection.execute(
            "UPDATE api_keys SET created_at = ?, owner = CAST(? AS TEXT) WHERE name = 'bad'", (NO_INSTANT, NOT_UTF_8)
        )
        connection.execute("UPDATE api_keys SET revoked_at = ? WHERE name = 'revoked'", (BLOB,))
        connection.execute("INSERT INTO sessions VALUES ('x', 'nobody', ?)", (BLOB,))
    server = serving(tmp_path)
    assert server.request("GET", "/jobs", headers=dict(bearer(good))).status == 200
    assert server.request("GET", "/jobs", headers=dict(bearer(bad))).status == 200
    assert server.request("GET", "/jobs", headers=dict(bearer(revoked))).status == 401
    assert keys(tmp_path, "list").returncode == 0


def test_ended_jobs_with_damaged_ids_expire_and_are_purged_like_others(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    whole = a_completed_job(server)
    assert server.stop() == 0
    with record(tmp_path) as connection:
        unreadable = copies(connection, whole, 3)
        expiring = copies(connection, whole, 2)
        connection.execute("UPDATE jobs SET expires_at = 2 WHERE id = ?", (expiring[0],))
        for job_id, damaged in zip(unreadable, (BLOB, "a\x1b[31mb", None), strict=True):
            connection.execute("UPDATE jobs SET expires_at = 1, completed_at = 1 WHERE id = ?", (job_id,))
            value = "CAST(? AS TEXT)" if damaged is None else "?"
            connection.execute(
                f"UPDATE jobs SET id = {value} WHERE id = ?",  # noqa: S608 - constants
                (NOT_UTF_8 if damaged is None else damaged, job_id),
            )
        purged = copied(connection, "jobs", whole)
        connection.execute("UPDATE jobs SET id = ? WHERE id = ?", (b"\x00", purged))
    server = serving(tmp_path)
    eventually(lambda: len(listed(server)) == len({whole, expiring[1], purged}))
    done = run_command("purge", "--older-than", "0s", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 jobs were deleted\n", "")
    assert listed(server) == []
    assert "Traceback" not in server.log()


def test_jobs_whose_status_is_none_have_failed_and_are_found_by_retention_and_purge(
    serving: Serving, tmp_path: Path
) -> None:
    server = serving(tmp_path)
    whole = a_completed_job(server)
    queued = server.submit("says", {"text": "hello"}, "?runAt=2099-01-01T00:00:00Z")
    assert server.stop() == 0
    with record(tmp_path) as connection:
        kept, expiring = (copies(connection, each, 4) for each in (whole, queued))
        for job_id, status in zip([*kept, *expiring], ["exploded", BLOB, None, "a"] * 2, strict=True):
            put(connection, "jobs.status", status, job_id)
        connection.execute(f"UPDATE jobs SET retain_s = 0 WHERE id IN ({', '.join('?' * 4)})", expiring)  # noqa: S608
    server = serving(tmp_path)
    eventually(lambda: {job["jobId"] for job in listed(server)} == {whole, queued, *kept})
    failed = server.request("GET", "/jobs?status=failed").json["jobs"]
    assert {job["jobId"]: job["error"]["type"] for job in failed} == dict.fromkeys(kept, "damaged-record")
    examined = run_command("doctor", "--data-dir", str(tmp_path))
    assert (examined.returncode, examined.stderr) == (0, ""), examined.stdout
    with closing(sqlite3.connect(tmp_path / "headway.db")) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE jobs SET status = 'exploded' WHERE id = ?", (kept[0],))
    purge = ("purge", "--older-than", "0s", "--status", "failed", "--data-dir", str(tmp_path))
    assert run_command(*purge, "--dry-run").stdout == "4 jobs would be deleted\n"
    assert run_command(*purge).stdout == "4 jobs were deleted\n"
    assert {job["jobId"] for job in listed(server)} == {whole, queued}
    assert "Traceback" not in server.log()
