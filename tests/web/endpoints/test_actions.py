"""`POST /jobs/actions`: one request for many jobs, followed like a job."""

import json
from pathlib import Path
from typing import Any

import pytest
from headway.ports.actions import MOST_ACTIVE
from headway.service.many.action_state import FAILURES_LISTED
from headway.web.endpoints.actions import MAX_IDS

from tests.support.keys import bearer, make_key
from tests.support.process import Reply, ServerProcess, run_command
from tests.support.raw import assert_problem, send
from tests.support.serving import LATER, UNKNOWN, Serving, ended

EXPOSED = {"HEADWAY_PUBLIC_URL": "http://jobs.example.com"}
FAILS = {"text": "as asked"}


def post(server: ServerProcess, body: Any, headers: Any = None) -> Reply:
    return server.request("POST", "/jobs/actions", body, None if headers is None else dict(headers))


def acted(server: ServerProcess, action: str, headers: Any = None, **which: Any) -> Any:
    """The finished job of an action."""
    reply = post(server, {"action": action, **which}, {**(headers or {}), "Prefer": "wait=30"})
    assert reply.status == 200, reply.body
    job = reply.json
    assert (job["type"], job["status"], job["progress"]) == ("actions", "completed", 100)
    assert job["result"]["handled"] == sum(job["result"]["outcomes"].values())
    return job


def outcomes(server: ServerProcess, action: str, headers: Any = None, **which: Any) -> Any:
    return acted(server, action, headers, **which)["result"]["outcomes"]


def statuses(server: ServerProcess, ids: list[str]) -> list[str]:
    return [server.job(job_id)["status"] for job_id in ids]


def queued(server: ServerProcess, count: int = 1, query: str = "") -> list[str]:
    return [server.submit("says", {"text": "hello"}, LATER + query) for _ in range(count)]


def test_an_action_is_followed_like_a_job(server: ServerProcess) -> None:
    ids = queued(server, 60)
    reply = post(server, {"action": "cancel", "ids": [*ids, ids[0]]})
    assert reply.status == 202
    assert reply.headers["Location"] == reply.json["statusUrl"] == f"/jobs/{reply.json['jobId']}"
    assert reply.json["type"] == "actions"
    states = list(server.states(reply.json["jobId"]))
    assert states[-1]["status"] == "completed"
    assert (states[-1]["done"], states[-1]["total"], states[-1]["unit"]) == (60, 60, "jobs")
    assert states[-1]["message"] == "60 cancelled"
    assert server.request("GET", states[-1]["resultUrl"]).json == {
        "action": "cancel",
        "handled": 60,
        "outcomes": {"cancelled": 60},
        "failed": 0,
        "failures": [],
    }
    assert server.job(reply.json["jobId"])["input"] == {"action": "cancel", "ids": ids}
    assert set(statuses(server, ids)) == {"cancelled"}
    listed = server.request("GET", "/jobs?type=actions").json["jobs"]
    assert reply.json["jobId"] in [job["jobId"] for job in listed]


def test_each_job_has_an_outcome(server: ServerProcess) -> None:
    (cancelled, waiting), done = queued(server, 2), ended(server, "says", FAILS)
    assert server.request("DELETE", f"/jobs/{cancelled}").status == 204
    running = server.submit("steps-async", {"steps": 1, "step_s": 60})
    server.wait_for(running, "running")
    job = acted(server, "cancel", ids=[cancelled, waiting, done, running, UNKNOWN])
    assert job["result"]["outcomes"] == {
        "cancelled": 1, "unchanged": 1, "stopping": 1, "conflict": 1, "not-found": 1,
    }  # fmt: skip
    assert job["result"]["failures"] == [
        {"jobId": done, "outcome": "conflict", "detail": "The job is completed."},
        {"jobId": UNKNOWN, "outcome": "not-found", "detail": "There is no such job."},
    ]
    assert server.wait_for(running)["status"] == "cancelled"
    assert outcomes(server, "purge", ids=[cancelled, done, running, UNKNOWN]) == {"not-found": 1, "purged": 3}
    assert server.request("GET", f"/jobs/{done}").status == 404


def test_a_retry_repeats_jobs_with_their_uploads_once_each(server: ServerProcess) -> None:
    failed = [ended(server, "fails", FAILS, "?label=again") for _ in range(3)]
    with_file = server.upload("reads-upload", {"document": b"a,b\n1,2\n"}, {})
    server.wait_for(with_file)
    waiting = queued(server)
    result = acted(server, "retry", ids=[*failed, with_file, *waiting])["result"]
    assert result["outcomes"] == {"retried": 4, "conflict": 1}
    assert result["failures"][0]["detail"] == "Only a job that has ended can be repeated; this one is queued."
    listed = server.request("GET", "/jobs?limit=20").json["jobs"]
    repeated = {job["retryOf"]: job for job in listed if job["retryOf"]}
    assert repeated.keys() == {*failed, with_file}
    assert {repeated[job_id]["label"] for job_id in failed} == {"again"}
    again = server.wait_for(repeated[with_file]["jobId"])
    assert again["result"] == server.job(with_file)["result"]


def test_a_filter_selects_what_a_list_shows_in_a_state_that_allows_it(server: ServerProcess) -> None:
    mine, others = queued(server, 30, "&label=mine"), queued(server, 2, "&label=other")
    failed = [ended(server, "fails", FAILS, "?label=mine") for _ in range(2)]
    job = acted(server, "cancel", filter={"label": "mine"})
    assert job["result"]["outcomes"] == {"cancelled": 30}
    assert (job["done"], job["total"]) == (30, 30)
    assert set(statuses(server, others)) == {"queued"}
    assert outcomes(server, "retry", filter={"label": "mine", "type": ["fails"]}) == {"retried": 2}
    listed = {"label": "mine", "status": ["failed", "cancelled"], "ids": failed}
    assert outcomes(server, "purge", filter=listed) == {"purged": 2}
    assert set(statuses(server, mine)) == {"cancelled"}
    searched = server.submit("says", FAILS, f"{LATER}&label=quarterly%20figures")
    assert outcomes(server, "cancel", filter={"q": "Quarter*"}) == {"cancelled": 1}
    assert statuses(server, [searched]) == ["cancelled"]
    query = f"{LATER}&metadata=%7B%22order%22%3A%22471%22%7D"
    tagged = server.submit("says", FAILS, query)
    assert outcomes(server, "cancel", filter={"metadata": {"order": "471"}}) == {"cancelled": 1}
    assert statuses(server, [tagged]) == ["cancelled"]
    assert outcomes(server, "cancel", filter={"label": ""}) == {}
    newest = {"label": "mine", "type": ["says"], "createdAfter": server.job(mine[20])["createdAt"]}
    assert outcomes(server, "purge", filter=newest) == {"purged": 9}


def test_an_action_leaves_actions_alone_unless_it_names_them(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    waiting = queued(server, 3)
    earlier = acted(server, "cancel", ids=waiting[:1])
    result = acted(server, "purge", filter={"status": ["completed", "cancelled", "queued"]})["result"]
    assert result["outcomes"] == {"purged": 3}
    assert server.job(earlier["jobId"])["status"] == "completed"
    retried = acted(server, "retry", ids=[earlier["jobId"]])["result"]
    assert retried["outcomes"] == {"conflict": 1}
    assert retried["failures"][0]["detail"] == "An action cannot be repeated: send it again."
    assert server.request("POST", f"/jobs/{earlier['jobId']}/retry").status == 409
    assert outcomes(server, "purge", filter={"type": ["actions"]}) == {"purged": 3}
    assert server.request("GET", "/jobs/stats").json["total"] == 1


def test_a_running_action_is_cancelled_by_another(serving: Serving, tmp_path: Path) -> None:
    """What it has done stays done; what it has not come to is left alone."""
    server = serving(tmp_path)
    jobs = {"jobs": [{"type": "says", "input": FAILS, "runAt": "2099-01-01T00:00:00Z"}] * 1_000}
    for _ in range(3):
        assert server.request("POST", "/jobs/batch", jobs).status == 200
    first = post(server, {"action": "cancel", "filter": {"status": ["queued"]}}).json["jobId"]
    for state in server.states(first):
        if state["done"]:
            break
    assert outcomes(server, "cancel", ids=[first]) == {"stopping": 1}
    stopped = server.wait_for(first)
    assert stopped["status"] == "cancelled"
    assert 0 < stopped["done"] < stopped["total"] == 3_000
    counts = server.request("GET", "/jobs/stats").json["byType"]["says"]
    assert (counts["cancelled"], counts["queued"]) == (stopped["done"], 3_000 - stopped["done"])
    lines = server.request("GET", f"/jobs/{first}/logs").json["lines"]
    assert lines[-1]["message"] == f"stopped after {stopped['done']:,} jobs: {stopped['done']:,} cancelled"
    assert server.request("GET", f"/jobs/{first}/result").status == 410


def test_failures_are_told_up_to_a_limit(server: ServerProcess) -> None:
    unknown = [f"{UNKNOWN[:-4]}{number:04x}" for number in range(MAX_IDS)]
    result = acted(server, "purge", ids=unknown)["result"]
    assert (result["failed"], result["outcomes"]) == (MAX_IDS, {"not-found": MAX_IDS})
    assert [failure["jobId"] for failure in result["failures"]] == unknown[:FAILURES_LISTED]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"ids": [UNKNOWN]}, "/action"),
        ({"action": "delete", "ids": [UNKNOWN]}, "/action"),
        ({"action": "purge"}, ""),
        ({"action": "purge", "ids": [UNKNOWN], "filter": {"label": "a"}}, ""),
        ({"action": "purge", "ids": []}, "/ids"),
        ({"action": "purge", "ids": [UNKNOWN] * (MAX_IDS + 1)}, "/ids"),
        ({"action": "purge", "ids": ["17"]}, "/ids/0"),
        ({"action": "purge", "filter": {}}, "/filter"),
        ({"action": "purge", "filter": {"ids": []}}, "/filter"),
        ({"action": "purge", "filter": {"label": None}}, "/filter"),
        ({"action": "purge", "filter": {"metadata": {}}}, "/filter"),
        ({"action": "purge", "filter": {"metadata": {"order": 471}}}, "/filter/metadata/order"),
        ({"action": "purge", "filter": {"limit": 5}}, "/filter/limit"),
        ({"action": "purge", "filter": {"status": "failed"}}, "/filter/status"),
        ({"action": "purge", "filter": {"createdBefore": "yesterday"}}, "/filter/createdBefore"),
        ({"action": "cancel", "filter": {"status": ["queued", "failed"]}}, "/filter/status"),
        ({"action": "retry", "filter": {"status": ["running"]}}, "/filter/status"),
        ({"action": "purge", "filter": {"type": ["a" * 40_000]}}, "/filter"),
        ({"action": "purge", "ids": [UNKNOWN], "priority": 1}, "/priority"),
    ],
    ids=range(19),
)
def test_an_action_that_is_not_clear_is_refused(server: ServerProcess, body: Any, pointer: str) -> None:
    sent = send(server, "POST", "/jobs/actions", (("Content-Type", "application/json"),), json.dumps(body).encode())
    assert_problem(sent, 422, "validation-failed", pointer)


def test_the_type_of_actions_is_the_servers_own(server: ServerProcess) -> None:
    assert "actions" not in [each["name"] for each in server.request("GET", "/job-types").json["jobTypes"]]
    body = {"action": "purge", "ids": [UNKNOWN]}
    assert server.request("POST", "/jobs", {"type": "actions", "input": body}).status == 404
    batch = server.request("POST", "/jobs/batch", {"jobs": [{"type": "actions", "input": body}]}).json
    assert batch["outcomes"][0]["status"] == 404
    assert server.request("GET", "/jobs/actions").status == 405
    assert server.request("OPTIONS", "/jobs/actions").headers["Allow"] == "OPTIONS,POST"


def test_an_action_that_is_repeated_with_its_key_is_the_first_one(server: ServerProcess) -> None:
    key = {"Idempotency-Key": '"act"', "Prefer": "wait=30"}
    failed = ended(server, "fails", FAILS)
    first = post(server, {"action": "retry", "ids": [failed]}, key)
    again = post(server, {"ids": [failed, failed], "action": "retry", "filter": None}, key)
    assert (first.status, again.status, again.headers["Idempotency-Replayed"]) == (200, 200, "true")
    assert again.json["jobId"] == first.json["jobId"]
    listed = server.request("GET", "/jobs?limit=200").json["jobs"]
    assert [job["retryOf"] for job in listed].count(failed) == 1
    assert post(server, {"action": "purge", "ids": [failed]}, key).status == 422
    assert server.request("POST", "/jobs/says", FAILS, {"Idempotency-Key": '"act"'}).status == 422


def test_no_action_reaches_the_jobs_of_another_owner(serving: Serving, tmp_path: Path) -> None:
    ann, bob = (bearer(make_key(tmp_path, name)) for name in ("ann", "bob"))
    reader, admin = make_key(tmp_path, "reader", "--read-only"), bearer(make_key(tmp_path, "root", "--admin"))
    server = serving(tmp_path, env=EXPOSED)

    def submitted(whose: Any) -> str:
        return str(server.request("POST", f"/jobs/says{LATER}", FAILS, dict(whose)).json["jobId"])

    of_ann, of_bob = submitted(ann), submitted(bob)
    result = acted(server, "cancel", bob, ids=[of_ann, UNKNOWN])["result"]
    told = [{**failure, "jobId": None} for failure in result["failures"]]
    assert told[0] == told[1]
    assert outcomes(server, "purge", bob, filter={"ids": [of_ann]}) == {}
    assert outcomes(server, "purge", bob, filter={"status": ["queued"]}) == {"purged": 1}
    assert server.request("GET", f"/jobs/{of_ann}", None, dict(ann)).status == 202
    mine = acted(server, "cancel", ann, ids=[of_bob])
    for path in ("", "/result", "/logs", "/progress"):
        assert server.request("GET", f"/jobs/{mine['jobId']}{path}", None, dict(bob)).status == 404
    assert post(server, {"action": "purge", "ids": [of_ann]}, bearer(reader)).status == 403
    assert post(server, {"action": "purge", "ids": [of_ann]}).status == 401
    assert outcomes(server, "cancel", admin, filter={"type": ["says"]}) == {"cancelled": 1}
    server.stop()
    read = run_command("audit", "--json", "--data-dir", str(tmp_path))
    entries = [json.loads(line) for line in read.stdout.splitlines()]
    changes = [(each["action"], each["subject"], each["keyId"] is not None) for each in entries]
    assert changes.count(("cancel", of_ann, True)) == changes.count(("delete", of_bob, True)) == 1
    assert [each["outcome"] for each in entries if each["jobType"] == "actions"].count("ok") == 5


def test_an_admins_action_is_read_by_its_owner_and_names_jobs_of_others(serving: Serving, tmp_path: Path) -> None:
    admin, desk = (bearer(make_key(tmp_path, *key)) for key in (("root", "--admin"), ("desk", "--owner", "root")))
    ann = bearer(make_key(tmp_path, "ann"))
    server = serving(tmp_path, env=EXPOSED)
    done = server.request("POST", "/jobs/says", FAILS, {**ann, "Prefer": "wait=30"}).json["jobId"]
    job = acted(server, "cancel", admin, ids=[done])
    failure = {"jobId": done, "outcome": "conflict", "detail": "The job is completed."}
    read = server.request("GET", f"/jobs/{job['jobId']}", None, dict(desk)).json
    assert (read["input"]["ids"], read["result"]["failures"]) == ([done], [failure])
    assert server.request("GET", f"/jobs/{done}", None, dict(desk)).status == 404
    for path in ("", "/result", "/logs", "/progress"):
        assert server.request("GET", f"/jobs/{job['jobId']}{path}", None, dict(ann)).status == 404


def test_an_action_is_limited_where_it_could_be_used_to_fill_the_server(serving: Serving, tmp_path: Path) -> None:
    """A full quota and a full queue are no obstacle, since an action may empty them; what is retried needs room."""
    ann = make_key(tmp_path, "ann", "--quota", "jobs=3,running=1")
    server = serving(tmp_path, env=EXPOSED | {"HEADWAY_MAX_TASKS": "1"})
    headers = dict(bearer(ann))
    failed = server.request("POST", "/jobs/fails", FAILS, {**headers, "Prefer": "wait=30"}).json["jobId"]
    busy = server.request("POST", "/jobs/steps-async", {"steps": 1, "step_s": 60}, headers).json["jobId"]
    result = acted(server, "retry", headers, ids=[failed])["result"]
    assert result["outcomes"] == {"quota-exceeded": 1}
    assert result["failures"][0]["detail"] == "This key's quota of 3 jobs is used up: 3 are kept."
    assert outcomes(server, "cancel", headers, ids=[busy]) == {"stopping": 1}
    for _ in range(MOST_ACTIVE - 2):
        acted(server, "cancel", headers, ids=[UNKNOWN])
    assert_problem_type(post(server, {"action": "cancel", "ids": [UNKNOWN]}, headers), 429, "quota-exceeded")


def assert_problem_type(reply: Reply, status: int, kind: str) -> None:
    assert (reply.status, reply.json["type"]) == (status, f"/problems/{kind}")
    assert int(reply.headers["Retry-After"]) >= 1
