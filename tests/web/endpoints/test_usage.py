"""Quotas over HTTP: `GET /usage`, and the problems that say which quota is used up and how full it is."""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.keys import bearer, keys, make_key
from tests.support.process import Reply, ServerProcess, eventually, multipart, run_command
from tests.support.raw import FORM, assert_problem, form, part, request_bytes, send
from tests.support.serving import LATER, TEST_JOBS, Serving

KIB = 1024
LIMITS = {"HEADWAY_QUOTA": "jobs=5,bytes=400KiB", "HEADWAY_MAX_BODY_BYTES": "1024"}


@dataclass
class World:
    server: ServerProcess
    data_dir: Path
    ann: Mapping[str, str]
    bob: Mapping[str, str]
    root: Mapping[str, str]

    def ask(self, who: Mapping[str, str], method: str, path: str, body: Any = None) -> Reply:
        return self.server.request(method, path, body, dict(who))

    def upload(self, who: Mapping[str, str], size_bytes: int) -> Reply:
        body, content_type = multipart({"document": b"." * size_bytes})
        headers = {**who, "Content-Type": content_type}
        return self.server.request("POST", f"/jobs/reads-upload{LATER}", body, headers)

    def used(self, who: Mapping[str, str], of: str = "owner") -> dict[str, int]:
        account = self.ask(who, "GET", "/usage").json[of]
        return {name: account[name]["used"] for name in ("jobs", "bytes", "queued", "running")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    data_dir = tmp_path / "data"
    quota = ("--quota", "queued=2")
    ann, bob, root = (bearer(make_key(data_dir, *name)) for name in (["ann", *quota], ["bob"], ["root", "--admin"]))
    with ServerProcess(data_dir, "--jobs", str(TEST_JOBS), env=LIMITS) as server:
        yield World(server, data_dir, ann, bob, root)


def assert_refused(reply: Reply, status: int, kind: str, **extension: object) -> None:
    problem = reply.json
    assert (reply.status, problem["type"], problem["status"]) == (status, f"/problems/{kind}", status)
    assert {name: problem[name] for name in ("quota", "of", "limit", "used")} == extension
    assert ("Retry-After" in reply.headers) == (status == 429)
    assert f"{extension['limit']:,}" in problem["detail"]


def test_a_full_quota_of_jobs_is_a_429_until_one_is_deleted(world: World) -> None:
    noop = f"/jobs/noop{LATER}"
    jobs = [world.ask(world.ann, "POST", noop, {}).json["jobId"] for _ in range(2)]
    of_key = {"quota": "queued", "of": "key", "limit": 2, "used": 2}
    assert_refused(world.ask(world.ann, "POST", noop, {}), 429, "quota-exceeded", **of_key)
    assert_refused(
        world.ask(world.ann, "POST", "/jobs", {"type": "noop", "input": {}}), 429, "quota-exceeded", **of_key
    )
    assert keys(world.data_dir, "quota", "ann", "none").returncode == 0
    jobs += [world.ask(world.ann, "POST", noop, {}).json["jobId"] for _ in range(3)]
    of_owner = {"quota": "jobs", "of": "owner", "limit": 5, "used": 5}
    assert_refused(world.ask(world.ann, "POST", noop, {}), 429, "quota-exceeded", **of_owner)
    assert world.ask(world.bob, "POST", noop, {}).status == 202
    assert world.used(world.ann) == world.used(world.ann, "key") == {"jobs": 5, "bytes": 10, "queued": 5, "running": 0}
    cancelled = world.ask(world.ann, "DELETE", f"/jobs/{jobs[0]}")
    assert (cancelled.status, world.used(world.ann)["jobs"]) == (204, 5)
    refused = world.ask(world.ann, "POST", f"/jobs/{jobs[0]}/retry")
    assert_refused(refused, 429, "quota-exceeded", **of_owner)
    assert world.ask(world.ann, "DELETE", f"/jobs/{jobs[0]}?purge=true").status == 204
    assert world.ask(world.ann, "POST", noop, {}).status == 202
    assert run_command("quota", "ann", "jobs=9", "--data-dir", str(world.data_dir)).returncode == 0
    assert world.ask(world.ann, "POST", noop, {}).status == 202


def test_what_does_not_fit_into_the_quota_of_bytes_is_a_507_and_leaves_nothing(world: World) -> None:
    kept = world.upload(world.bob, 350 * KIB)
    assert kept.status == 202
    used = 350 * KIB + len("{}")
    full = {"quota": "bytes", "of": "owner", "limit": 400 * KIB, "used": used}
    assert_refused(world.upload(world.bob, 60 * KIB), 507, "storage-quota-exceeded", **full)
    form_of = form(part("document", b"." * 60 * KIB, "a.txt"))
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(form_of), form_of)
    headers = (*FORM, *world.bob.items(), ("Transfer-Encoding", "chunked"))
    assert_problem(send(world.server, "POST", "/jobs/reads-upload", headers, chunked), 507, "storage-quota-exceeded")
    head = request_bytes("POST", "/jobs/reads-upload", (*FORM, *world.bob.items(), ("Content-Length", str(60 * KIB))))
    with socket.create_connection(("127.0.0.1", world.server.port)) as waiting:
        waiting.sendall(head)
        assert b" 507 " in waiting.recv(64), "before the body is there"
    assert world.used(world.bob) == {"jobs": 1, "bytes": used, "queued": 1, "running": 0}
    assert len(list((world.data_dir / "jobs").iterdir())) == 1
    eventually(lambda: not list((world.data_dir / "incoming").iterdir()))
    assert world.upload(world.ann, 60 * KIB).status == 202
    assert world.ask(world.bob, "DELETE", f"/jobs/{kept.json['jobId']}?purge=true").status == 204
    assert world.upload(world.bob, 60 * KIB).status == 202


def test_uploads_under_way_cannot_pass_the_quota_together(world: World) -> None:
    """One has sent its file, and is not finished; another does not fit beside it."""
    body = form(part("document", b"." * 150 * KIB, "a.txt"), part("cover", b"." * 200 * KIB, "b.txt"))
    request = request_bytes("POST", f"/jobs/reads-upload{LATER}", (*FORM, *world.bob.items()), body)
    with socket.create_connection(("127.0.0.1", world.server.port)) as slow:
        slow.sendall(request[:-2])  # only the end of the form is missing
        eventually(lambda: [file for file in world.data_dir.glob("incoming/*/document") if file.stat().st_size])
        assert world.upload(world.bob, 260 * KIB).status == 507
        slow.sendall(request[-2:])
        assert b" 202 " in slow.recv(64)
    assert world.upload(world.bob, 260 * KIB).status == 507


def test_a_job_whose_output_does_not_fit_fails_and_keeps_none_of_it(world: World) -> None:
    for path, input in (("/jobs/big-file", {}), ("/jobs/big-result", {"steps": 450 * KIB})):
        job_id = world.ask(world.bob, "POST", path, input).json["jobId"]
        while (reply := world.ask(world.bob, "GET", f"/jobs/{job_id}?wait=20")).status == 202:
            pass
        job = reply.json
        assert (job["status"], job["error"]["type"]) == ("failed", "storage-quota-exceeded"), job
        assert "409,600 bytes" in job["error"]["detail"]
        assert world.ask(world.bob, "GET", f"/jobs/{job_id}/result").status == 507
        eventually(lambda job_id=job_id: not (world.data_dir / "jobs" / job_id).exists())
    assert world.used(world.bob)["bytes"] < KIB


def test_an_owner_sees_their_own_figures_only(world: World) -> None:
    assert world.ask(world.ann, "POST", f"/jobs/noop{LATER}", {}).status == 202
    reply = world.ask(world.ann, "GET", "/usage")
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "private, no-cache")
    assert reply.json == {
        "owner": {
            "name": "ann",
            "jobs": {"used": 1, "limit": 5},
            "bytes": {"used": 2, "limit": 400 * KIB},
            "queued": {"used": 1, "limit": 50_000},
            "running": {"used": 0, "limit": None},
        },
        "key": {
            "name": "ann",
            "jobs": {"used": 1, "limit": None},
            "bytes": {"used": 2, "limit": None},
            "queued": {"used": 1, "limit": 2},
            "running": {"used": 0, "limit": None},
        },
    }
    assert world.used(world.bob) == world.used(world.bob, "key") == {"jobs": 0, "bytes": 0, "queued": 0, "running": 0}
    foreign, unknown = (world.ask(world.bob, "GET", f"/usage?owner={owner}") for owner in ("ann", "nobody"))
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)
    assert foreign.status == 403
    assert world.ask(world.bob, "GET", "/usage?owner=bob").json["owner"]["name"] == "bob"
    of_ann = world.ask(world.root, "GET", "/usage?owner=ann").json
    assert (of_ann["owner"], of_ann["key"]) == (reply.json["owner"], None)
    assert world.ask(world.root, "GET", "/usage?owner=nobody").json["owner"]["jobs"] == {"used": 0, "limit": 5}
    assert world.ask({}, "GET", "/usage?owner=ann").status == 403
    assert "headway_kept_bytes 2.0" in world.ask(world.root, "GET", "/metrics").body.decode()


def test_without_keys_and_quotas_the_figures_are_those_of_everybody(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    server.submit("noop", query=LATER)
    usage = server.request("GET", "/usage").json
    assert usage["key"] is None
    assert usage["owner"] == {
        "name": "local",
        "jobs": {"used": 1, "limit": None},
        "bytes": {"used": 2, "limit": None},
        "queued": {"used": 1, "limit": None},
        "running": {"used": 0, "limit": None},
    }


def test_an_operator_sees_and_sets_quotas(tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return run_command(*arguments, "--data-dir", str(tmp_path), env=LIMITS)

    make_key(tmp_path, "ann", "--quota", "jobs=3,bytes=1MB")
    make_key(tmp_path, "bob")
    assert run("quota", "carla", "bytes=1GiB,queued=2").returncode == 0
    assert "jobs=3,bytes=1000000" in keys(tmp_path, "list").stdout
    assert [line.split() for line in run("usage").stdout.splitlines()] == [
        ["OWNER", "JOBS", "BYTES", "QUEUED", "RUNNING"],
        ["carla", "0", "0", "of", "1,073,741,824", "0", "of", "2", "0"],
        [],
        ["KEY", "JOBS", "BYTES", "QUEUED", "RUNNING"],
        ["ann", "0", "of", "3", "0", "of", "1,000,000", "0", "0"],
    ]
    assert run("quota", "carla", "default").returncode == 0
    assert "carla" not in run("usage").stdout
    for wrong in (
        ("quota", "carla", "jobs=many"), ("quota", "c/a", "jobs=1"), ("quota", "carla", "jobs=1KB"),
        ("keys", "create", "x", "--quota", "apples=3"), ("keys", "quota", "nobody", "jobs=1"),
    ):  # fmt: skip
        refused = run(*wrong)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), wrong
    refused = run_command("usage", "--data-dir", str(tmp_path), env={"HEADWAY_QUOTA": "jobs"})
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
