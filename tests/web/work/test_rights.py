"""Who may do whose jobs: a key's right to work on a type, leases that belong to a key, what a worker sees."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.keys import bearer, keys, make_key
from tests.support.process import ROOT, Reply, ServerProcess, eventually, run_command
from tests.support.raw import assert_problem
from tests.support.working import Worker
from tests.web.conftest import assert_no_unexpected_errors

REMOTE_JOBS = ROOT / "tests" / "job_types" / "remote_jobs.py"


@dataclass
class World:
    server: ServerProcess
    data_dir: Path
    ann: Mapping[str, str]
    bob: Mapping[str, str]
    worker: Mapping[str, str]
    """May do jobs of the type `double`, and changes nothing else."""
    other_worker: Mapping[str, str]

    def ask(self, who: Mapping[str, str], method: str, path: str, body: Any = None) -> Reply:
        return self.server.request(method, path, body, dict(who))

    def submit(self, who: Mapping[str, str]) -> str:
        reply = self.ask(who, "POST", "/jobs/double", {"number": 2})
        assert reply.status == 202, reply.body
        return str(reply.json["jobId"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data_dir = tmp_path_factory.mktemp("rights") / "data"
    ann, bob, worker, other = (
        bearer(make_key(data_dir, *words))
        for words in (
            ["ann"],
            ["bob", "--admin"],
            ["worker", "--read-only", "--work", "double", "--work", "once"],
            ["all-rounder", "--work", "*"],
        )
    )
    env = {"HEADWAY_SAMPLES": "false", "HEADWAY_INSECURE": "false"}
    with ServerProcess(data_dir, "--jobs", str(REMOTE_JOBS), env=env) as server:
        yield World(server, data_dir, ann, bob, worker, other)
        assert_no_unexpected_errors(server)


def test_a_key_without_the_right_to_work_gets_no_job(world: World) -> None:
    job_id = world.submit(world.ann)
    for key in (world.ann, world.bob):  # the job's own owner, and an admin
        for path in ("double", "once", "nothing"):
            refused = assert_problem(world.ask(key, "POST", f"/work/{path}/claim"), 403, "forbidden")
            assert refused["detail"] == "The API key does not have the right to work on jobs of this type."
    assert_problem(world.ask(world.worker, "POST", "/work/read-aloud/claim"), 403, "forbidden")
    assert world.ask(world.ann, "GET", f"/jobs/{job_id}").json["status"] == "queued"
    Worker(world.server, "double", world.worker).claim().ok("complete", {"result": 4})


def test_a_worker_does_the_jobs_of_all_owners_and_sees_nothing_else_of_them(world: World) -> None:
    jobs = {world.submit(world.ann): "ann", world.submit(world.bob): "bob"}
    worker = Worker(world.server, "double", world.worker)
    for _ in jobs:
        assignment = worker.claim()
        assert assignment.fields["owner"] == jobs[assignment.job_id]
        for path in ("", "/result", "/logs", "/files", "/progress"):
            assert_problem(world.ask(world.worker, "GET", f"/jobs/{assignment.job_id}{path}"), 404, "not-found")
        assert assignment.ok("complete", {"result": 4})["status"] == "completed"
    for job_id, owner in jobs.items():
        of = world.ann if owner == "ann" else world.bob
        assert world.ask(of, "GET", f"/jobs/{job_id}/result").json == 4


def test_a_lease_is_of_no_use_with_another_key(world: World) -> None:
    world.submit(world.ann)
    assignment = Worker(world.server, "double", world.worker).claim()
    stolen = {"Headway-Lease": assignment.fields["lease"]}
    for key in (world.other_worker, {}):  # another worker's, and none
        reply = world.server.request("POST", "/work/double/complete", {"result": 1}, {**key, **stolen})
        assert_problem(reply, 409, "lease-lost")
    assert assignment.ok("complete", {"result": 4})["status"] == "completed"


def test_a_read_only_key_with_the_right_to_work_changes_nothing_else(world: World) -> None:
    assert_problem(world.ask(world.worker, "POST", "/jobs/double", {}), 403, "forbidden")


def test_a_revoked_worker_has_no_lease_any_more(world: World) -> None:
    leaving = bearer(make_key(world.data_dir, "leaving", "--work", "double"))
    world.submit(world.ann)
    assignment = Worker(world.server, "double", leaving).claim()
    assert keys(world.data_dir, "revoke", "leaving").returncode == 0
    assert_problem(assignment.send("progress"), 401, "unauthorized")
    again = Worker(world.server, "double", world.worker).claim()
    assert (again.job_id, again.fields["attempt"]) == (assignment.job_id, 2)
    again.ok("complete", {"result": 4})


def test_the_right_is_listed_and_a_name_that_no_type_can_have_is_refused(world: World) -> None:
    listed = keys(world.data_dir, "list").stdout
    assert "read-only, work:double, work:once" in listed
    assert "work:*" in listed
    refused = keys(world.data_dir, "create", "odd", "--work", "No Type")
    assert refused.returncode != 0
    assert "'No Type' is not the name of a job type" in refused.stderr


def test_the_audit_trail_says_which_key_claimed_whose_job(world: World) -> None:
    job_id = world.submit(world.ann)
    assignment = Worker(world.server, "double", world.worker).claim()

    def found() -> list[Any]:
        printed = run_command("audit", "--json", "--action", "claim", "--data-dir", str(world.data_dir)).stdout
        entries = [json.loads(line) for line in printed.splitlines()]
        return [entry for entry in entries if entry["subject"] == job_id]

    (entry,) = eventually(found)
    assert (entry["owner"], entry["jobType"], entry["outcome"]) == ("ann", "double", "ok")
    assert entry["actorOwner"] == "worker"
    assignment.ok("complete", {"result": 4})
