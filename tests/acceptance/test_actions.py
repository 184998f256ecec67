"""A real server that is killed again and again while an action runs: each job is handled once, and none twice."""

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from headway.service.many.running_actions import JOBS_PER_STEP

from tests.support.keys import bearer, keys, make_key
from tests.support.process import ServerProcess
from tests.support.record import snapshot, sound_record
from tests.support.serving import LATER, Serving

SEED = 20261129
JOBS = 600
KILLS = 3
STEPS = (("cancel", "cancel", "cancelled"), ("retry", "retry", "retried"), ("purge", "delete", "purged"))
"""The action, its name in the audit trail, and the outcome of each job."""


def finished(server: ServerProcess, body: Any, chance: random.Random) -> Any:
    """The job of an action whose server was killed at random moments after it had begun."""
    action = server.request("POST", "/jobs/actions", body).json["jobId"]
    for done in sorted(chance.randrange(JOBS) for _ in range(KILLS)):
        for state in server.states(action):
            if (state["done"] or 0) >= done:
                break
        time.sleep(chance.random() * 0.01)  # anywhere between two reports
        server.kill()
        server.restart()
    return server.wait_for(action)


@pytest.mark.slow
def test_an_action_that_is_killed_three_times_handles_each_job_once(serving: Serving, tmp_path: Path) -> None:
    server, chance = serving(tmp_path, env={"HEADWAY_MAX_RECOVERIES": "100"}), random.Random(SEED)
    job = {"type": "noop", "input": {}, "runAt": "2099-01-01T00:00:00Z"}
    assert server.request("POST", "/jobs/batch", {"jobs": [job] * JOBS}).json["accepted"] == JOBS
    for kind, entry, outcome in STEPS:
        status = {"cancel": "queued"}.get(kind, "cancelled")
        ended = finished(server, {"action": kind, "filter": {"type": ["noop"], "status": [status]}}, chance)
        assert ended["status"] == "completed"
        assert ended["attempt"] > 1
        assert ended["result"]["outcomes"] == {outcome: JOBS}
        with snapshot(tmp_path) as record:
            sql = "SELECT subject, at FROM audit WHERE action = ? AND job_type = 'noop'"
            found = record.execute(sql, (entry,)).fetchall()
            times, at_once = Counter(subject for subject, _ in found), Counter(at for _, at in found)
            repeated = Counter(row[0] for row in record.execute("SELECT retry_of FROM jobs WHERE retry_of IS NOT NULL"))
        assert (len(times), set(times.values())) == (JOBS, {1})
        if kind != "retry":  # the entries of a step bear the step's time, those of new jobs their own
            assert max(at_once.values()) == JOBS_PER_STEP
        assert (len(repeated), set(repeated.values())) == ((0, set()) if kind == "cancel" else (JOBS, {1}))
    server.kill()
    assert sum(job.status != "cancelled" for job in sound_record(tmp_path).values()) == JOBS + len(STEPS)


def test_an_action_leaves_jobs_alone_that_were_accepted_after_it(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    jobs = {"jobs": [{"type": "noop", "input": {}, "runAt": "2099-01-01T00:00:00Z"}] * 1_000}
    assert server.request("POST", "/jobs/batch", jobs).json["accepted"] == len(jobs["jobs"])
    action = server.request("POST", "/jobs/actions", {"action": "purge", "filter": {"type": ["noop"]}}).json["jobId"]
    server.kill()
    server.restart()
    later = [server.submit("noop", None, LATER) for _ in range(3)]
    assert server.wait_for(action)["result"]["outcomes"] == {"purged": 1_000}
    assert [server.job(job_id)["status"] for job_id in later] == ["queued"] * 3


def test_an_action_whose_key_was_revoked_does_not_go_on(serving: Serving, tmp_path: Path) -> None:
    leaving, staying = (bearer(make_key(tmp_path, name, "--owner", "ann")) for name in ("leaving", "staying"))
    server = serving(tmp_path, env={"HEADWAY_PUBLIC_URL": "http://jobs.example.com"})
    jobs = {"jobs": [{"type": "noop", "input": {}, "runAt": "2099-01-01T00:00:00Z"}] * 1_000}
    assert server.request("POST", "/jobs/batch", jobs, dict(staying)).json["accepted"] == len(jobs["jobs"])
    body = {"action": "purge", "filter": {"type": ["noop"]}}
    action = server.request("POST", "/jobs/actions", body, dict(leaving)).json["jobId"]
    server.kill()
    assert keys(tmp_path, "revoke", "leaving").returncode == 0
    server.restart()
    ended = server.request("GET", f"/jobs/{action}?wait=30", headers=dict(staying)).json
    assert ended["status"] == "failed"
    assert (ended["error"]["type"], ended["error"]["status"]) == ("forbidden", 403)
    assert "has been revoked" in ended["error"]["detail"]
    left = server.request("GET", "/jobs/stats", headers=dict(staying)).json["byType"]["noop"]["queued"]
    assert left == len(jobs["jobs"]) - (ended["done"] or 0) > 0
