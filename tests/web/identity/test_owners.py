"""Two owners on one server: neither finds a trace of the other, on any path, with any method."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.keys import bearer, make_key
from tests.support.process import Reply, ServerProcess
from tests.support.serving import TEST_JOBS

UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
LATER = "runAt=2099-01-01T00:00:00Z"
HUSHED = "ann-hush"
METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
OF_ONE_ANSWER = {"date", "ratelimit", "x-request-id"}
"""Headers that differ between any two answers."""


@dataclass
class World:
    """A server with Ann's jobs, and two strangers to them: Bob, who has one job, and an admin."""

    server: ServerProcess
    ann: Mapping[str, str]
    bob: Mapping[str, str]
    admin: Mapping[str, str]
    jobs: dict[str, str]
    """Ann's, by what is special about them."""
    delivery: str
    bobs: str

    @property
    def unknown_delivery(self) -> str:
        """An id of the same form."""
        return self.delivery[:-6] + "000000"

    def ask(self, who: Mapping[str, str], method: str, path: str, body: Any = None, **headers: str) -> Reply:
        return self.server.request(method, path, body, {**who, **headers})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data_dir = tmp_path_factory.mktemp("owners") / "data"
    ann, bob, admin = (bearer(make_key(data_dir, *name)) for name in (["ann"], ["bob"], ["root", "--admin"]))
    with ServerProcess(data_dir, "--jobs", str(TEST_JOBS)) as server:
        world = World(server, ann, bob, admin, {}, "", "")

        def submitted(who: Mapping[str, str], path: str, body: Any = None) -> str:
            reply = world.ask(who, "POST", path, {} if body is None else body, Prefer="wait=20")
            assert reply.status in (200, 202), reply.body
            job_id = str(reply.json["jobId"])
            while world.ask(who, "GET", f"/jobs/{job_id}?wait=20").status == 202:
                pass  # a process job may take its time on a busy machine
            return job_id

        text = {"text": HUSHED}
        hook = f"label={HUSHED}&webhookUrl=https%3A%2F%2Freceiver.invalid%2F"
        world.jobs = {
            "completed": submitted(ann, f"/jobs/writes-files?{hook}", text),
            "failed": submitted(ann, f"/jobs/fails?label={HUSHED}", text),
            "todo": submitted(ann, "/api/todos", {"title": HUSHED}),
            "report": submitted(ann, "/api/reports", {}),
        }
        world.jobs["queued"] = world.ask(ann, "POST", f"/jobs/noop?{LATER}&label={HUSHED}").json["jobId"]
        steps = {"steps": 100_000, "step_s": 0.05}
        world.jobs["running"] = world.ask(ann, "POST", f"/jobs/steps-async?label={HUSHED}", steps).json["jobId"]
        deliveries = world.ask(ann, "GET", f"/jobs/{world.jobs['completed']}/deliveries").json["deliveries"]
        world.delivery = deliveries[0]["deliveryId"]
        world.bobs = submitted(bob, "/jobs/noop?label=bobs")
        yield world


def templates(world: World) -> list[str]:
    """Every path that the server has."""
    document = world.server.request("GET", "/openapi.json").json
    return list(document["paths"])


def filled(template: str, job_id: str, delivery: str) -> str:
    values = {"id": job_id, "key": job_id, "name": "report.html", "deliveryId": delivery, "path": "app.js"}
    values |= {"type": "noop", "field": "document"}
    return re.sub(r"{(\w+)}", lambda found: values[found[1]], template)


def told(reply: Reply, *names: str) -> Any:
    """All that an answer says, but for what it was asked about."""
    headers = sorted(
        (name.lower(), value) for name, value in reply.headers.items() if name.lower() not in OF_ONE_ANSWER
    )
    said = json.dumps([reply.status, headers, reply.body.decode()])
    for name in names:
        said = said.replace(name, "X")
    return said


def test_another_owners_job_is_a_404_on_every_path_with_every_method(world: World) -> None:
    paths = [template for template in templates(world) if "{id}" in template or "{key}" in template]
    assert len(paths) >= 15
    before = {name: world.ask(world.ann, "GET", f"/jobs/{job_id}").json for name, job_id in world.jobs.items()}
    tried = 0
    for template in paths:
        for method in METHODS:
            body: Any = {} if method == "POST" else None
            unknown_path = filled(template, UNKNOWN_ID, world.unknown_delivery)
            unknown = told(world.ask(world.bob, method, unknown_path, body), UNKNOWN_ID, world.unknown_delivery)
            for job_id in world.jobs.values():
                reply = world.ask(world.bob, method, filled(template, job_id, world.delivery), body)
                assert told(reply, job_id, world.delivery) == unknown, (method, template)
                assert reply.status in (404, 405) or method == "OPTIONS", (method, template, reply.status)
                tried += 1
    assert tried >= 15 * len(METHODS) * len(world.jobs)
    for name, job_id in world.jobs.items():
        after = world.ask(world.ann, "GET", f"/jobs/{job_id}").json
        assert after["status"] == before[name]["status"], f"Bob has done something to Ann's {name} job"
        if name != "running":
            assert after["version"] == before[name]["version"]


@pytest.mark.parametrize(
    "query",
    ["?purge=true", "?wait=0", "?redirect=true", "?lastEventId=1", "?after=0", "?inline=true", "?name=report.html"],
)
def test_no_parameter_reveals_another_owners_job(world: World, query: str) -> None:
    for template in templates(world):
        if "{id}" not in template:
            continue
        for method in ("GET", "DELETE"):
            unknown = world.ask(world.bob, method, filled(template, UNKNOWN_ID, world.unknown_delivery) + query)
            reply = world.ask(world.bob, method, filled(template, world.jobs["completed"], world.delivery) + query)
            expected = told(unknown, UNKNOWN_ID, world.unknown_delivery)
            assert told(reply, world.jobs["completed"], world.delivery) == expected, (method, template, query)


def test_lists_and_counts_contain_only_the_owners_jobs(world: World) -> None:
    asked = [template for template in templates(world) if "{" not in template and template != "/jobs/progress"]
    asked += [f"/jobs?label={HUSHED}", "/jobs?status=running,completed,failed,queued", "/jobs?limit=1"]
    for path in asked:
        shown = world.ask(world.bob, "GET", path).body.decode()
        assert HUSHED not in shown, path
        for job_id in world.jobs.values():
            assert job_id not in shown, path
    stats = world.ask(world.bob, "GET", "/jobs/stats").json
    assert stats["total"] == 1
    assert set(stats["byType"]) == {"noop"}
    assert world.ask(world.bob, "GET", "/metrics").status == 403


def test_the_stream_of_many_jobs_contains_only_the_owners_jobs(world: World) -> None:
    ids = ",".join([*world.jobs.values(), world.bobs])
    for path in ("/jobs/progress", f"/jobs/progress?ids={ids}", "/jobs/progress?status=running"):
        events = world.server.events(path, dict(world.bob))
        heard: list[str] = []
        for event in events:
            if event.name == "ready":
                break
            heard.append(event.data["jobId"])
        assert not set(heard) & set(world.jobs.values()), path
        # Ann's running job changes ten times a second meanwhile; the next that is heard is Bob's own.
        steps = world.ask(world.bob, "POST", "/jobs/steps-async", {"steps": 20, "step_s": 0.05}).json["jobId"]
        if "ids=" not in path:
            for event in events:
                assert event.data["jobId"] not in world.jobs.values(), path
                if (event.data["jobId"], event.data.get("status")) == (steps, "completed"):
                    break
        events.close()  # type: ignore[attr-defined]


def test_idempotency_keys_are_separate_for_each_owner(world: World) -> None:
    key = {"Idempotency-Key": '"the same"'}
    anns = world.ask(world.ann, "POST", "/jobs/noop", {}, **key)
    bobs = world.ask(world.bob, "POST", "/jobs/noop", {}, **key)
    assert (anns.status, bobs.status) == (202, 202)
    assert anns.json["jobId"] != bobs.json["jobId"]
    assert "Idempotency-Replayed" not in bobs.headers


def test_a_client_without_a_key_finds_no_owners_jobs(world: World) -> None:
    assert world.ask({}, "GET", "/jobs").json == {"jobs": [], "nextCursor": None}
    assert world.ask({}, "GET", f"/jobs/{world.jobs['completed']}").status == 404


def test_an_admin_sees_and_changes_the_jobs_of_all(world: World) -> None:
    shown = {job["jobId"] for job in world.ask(world.admin, "GET", "/jobs?limit=200").json["jobs"]}
    assert shown >= {*world.jobs.values(), world.bobs}
    assert world.ask(world.admin, "GET", f"/jobs/{world.jobs['completed']}/result").status == 200
    assert world.ask(world.admin, "GET", f"/jobs/{world.jobs['completed']}/files/report.html").status == 200
    assert world.ask(world.admin, "GET", "/metrics").status == 200
    assert HUSHED in world.ask(world.admin, "GET", "/api/todos").body.decode()
    assert world.ask(world.admin, "GET", "/jobs/stats").json["total"] >= len(world.jobs) + 1
    heard = set()
    for event in (events := world.server.events("/jobs/progress", dict(world.admin))):
        if event.name == "ready":
            break
        heard.add(event.data["jobId"])
    events.close()  # type: ignore[attr-defined]
    assert {world.jobs["running"], world.jobs["queued"]} <= heard
    steps = {"steps": 100_000, "step_s": 0.05}
    anns = world.ask(world.ann, "POST", "/jobs/steps-async", steps).json["jobId"]
    assert world.ask(world.admin, "DELETE", f"/jobs/{anns}").status == 204
    again = world.ask(world.admin, "POST", f"/jobs/{anns}/retry", None)
    assert again.status == 202
    assert world.ask(world.ann, "GET", f"/jobs/{again.json['jobId']}").status in (200, 202), (
        "it is Ann's, like the first"
    )


def test_an_admins_idempotency_key_stays_their_own_when_they_retry_another_owners_job(world: World) -> None:
    key = '"repeated once"'

    def failed_job(who: Mapping[str, str]) -> str:
        reply = world.ask(who, "POST", "/jobs/fails", {"text": "no"}, Prefer="wait=20")
        assert reply.json["status"] == "failed"
        return str(reply.json["jobId"])

    def repeat(job_id: str) -> Reply:
        return world.ask(world.admin, "POST", f"/jobs/{job_id}/retry", **{"Idempotency-Key": key})

    anns, bobs = failed_job(world.ann), failed_job(world.bob)
    first = repeat(anns)
    assert first.status == 202
    assert repeat(bobs).status == 422
    assert world.ask(world.ann, "DELETE", f"/jobs/{anns}?purge=true").status == 204
    again = repeat(anns)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert again.json["jobId"] == first.json["jobId"]
    assert world.ask(world.ann, "GET", f"/jobs/{first.json['jobId']}").json["retryOf"] == anns
    own = world.ask(world.ann, "POST", "/jobs/ping", {}, **{"Idempotency-Key": key})
    assert (own.status, own.headers["Idempotency-Replayed"]) == (202, None)
