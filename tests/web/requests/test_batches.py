"""`POST /jobs/batch`: each job is accepted or refused as if it had come alone."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from headway import Headway, Settings
from headway.errors import InvalidError
from headway.service.many.batching import BatchOutcomes
from headway.web.requests.batches import HEAVY_BYTES, MAX_BYTES, MAX_JOBS, _Batch
from headway.web.requests.multipart import Body
from headway.web.requests.submissions import enveloped
from headway.web.responses.outcomes import MAX_ERRORS

from tests.support.keys import bearer, make_key
from tests.support.process import Reply, ServerProcess, run_command
from tests.support.raw import JSON, assert_problem, send
from tests.support.serving import TEST_JOBS, Serving

FAR = "2099-01-01T00:00:00Z"
LATER: dict[str, Any] = {"type": "says", "input": {"text": "hello"}, "runAt": FAR}
EXPOSED = {"HEADWAY_PUBLIC_URL": "http://jobs.example.com"}


def post(server: ServerProcess, jobs: Any, headers: dict[str, str] | None = None) -> Reply:
    return server.request("POST", "/jobs/batch", {"jobs": jobs}, headers)


def outcomes(reply: Reply) -> list[Any]:
    assert reply.status == 200, reply.body
    assert reply.json.keys() == {"accepted", "refused", "outcomes"}
    listed: list[Any] = reply.json["outcomes"]
    statuses = [outcome["status"] for outcome in listed]
    assert (reply.json["accepted"], reply.json["refused"]) == (statuses.count(202), len(listed) - statuses.count(202))
    for outcome in listed:
        assert outcome.keys() == {"status", "jobId", "location", "retryAfterSeconds", "problem"}
        assert (outcome["problem"] is None) == (outcome["status"] == 202) == (outcome["jobId"] is not None)
    return listed


def test_each_job_has_the_outcome_of_its_own_submission(server: ServerProcess) -> None:
    jobs = [
        {**LATER, "label": "first", "priority": 7},
        {"type": "says", "input": {"words": 1}},
        {"type": "no-such-type"},
        {"input": {}},
        {**LATER, "priority": "5"},
        [],
        {"type": "says", "input": {"text": "hello"}, "webhookUrl": "http://127.0.0.1/"},
        {"type": "document"},
        {"type": "says", "input": {"text": "at once"}},
    ]
    first, *refused, last = outcomes(post(server, jobs))
    assert first["location"] == f"/jobs/{first['jobId']}"
    read = server.request("GET", first["location"]).json
    assert (read["label"], read["status"], read["input"]) == ("first", "queued", {"text": "hello"})
    assert server.wait_for(last["jobId"])["result"] is not None
    for job, outcome in zip(jobs[1:-1], refused, strict=True):
        alone = server.request("POST", "/jobs", job)
        assert outcome["status"] == alone.status
        assert outcome["problem"] == alone.json | {"instance": "/jobs/batch"}


def test_an_outcome_has_the_location_of_the_response_to_its_own_submission(server: ServerProcess) -> None:
    job = {"type": "notes", "input": {"text": "short"}}
    alone = server.request("POST", "/jobs", job)
    (outcome,) = outcomes(post(server, [job]))
    assert outcome["location"].endswith("?redirect=true")
    assert outcome["location"] == alone.headers["Location"].replace(alone.json["jobId"], outcome["jobId"])


def test_an_envelope_without_options_is_the_same_submission_as_one_with_their_defaults() -> None:
    plain = {"type": "says", "input": {"text": "hello"}}
    short, whole = enveloped(Body(plain)), enveloped(Body({**plain, "priority": 0}))
    assert short._replace(options=whole.options) == whole
    assert short.options.model_dump() == whole.options.model_dump(exclude={"type", "input"})
    assert asyncio.run(short.fingerprint()) == asyncio.run(whole.fingerprint())


@pytest.mark.parametrize("odd", [{"type": 5, "input": {}}, {"type": "says", "input": []}, {"type": None, "input": {}}])
def test_an_odd_envelope_without_options_is_refused_like_any_other(odd: dict[str, Any]) -> None:
    errors = []
    for fields in (odd, {**odd, "priority": 0}):
        with pytest.raises(InvalidError) as refused:
            enveloped(Body(fields))
        errors.append(refused.value.errors)
    assert errors[0] == errors[1]


def test_json_out_of_bounds_is_refused_where_it_stands(server: ServerProcess) -> None:
    texts = [json.dumps(LATER), '{"type": "says", "type": "says"}', '{"type": "says", "input": {"text": NaN}}', "1e999"]
    deep = '{"type": "says", "input": ' + '{"a":' * 40 + "1" + "}" * 41
    body = ('{"jobs": [' + ",".join([*texts, deep]) + "]}").encode()
    listed = outcomes(server.request("POST", "/jobs/batch", body, dict(JSON)))
    assert [outcome["status"] for outcome in listed] == [202, 422, 422, 422, 400]
    assert listed[2]["problem"]["errors"] == [
        {"pointer": "/input/text", "detail": "is NaN, which is not a JSON number"}
    ]


def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(server: ServerProcess) -> None:
    before = server.request("GET", "/jobs/stats").json["total"]
    good = json.dumps(LATER).encode()

    def sent(body: bytes, path: str = "/jobs/batch", content_type: str = "application/json") -> Any:
        return send(server, "POST", path, (("Content-Type", content_type),), body)

    assert_problem(sent(b'{"jobs": [' + good + b", tru]}"), 400, "malformed-request")
    assert_problem(sent(b'{"jobs": [' + good), 400, "malformed-request")
    too_many = b'{"jobs": [' + b",".join([b"{}"] * (MAX_JOBS + 1)) + b"]}"
    for body, pointer in ((b'{"jobs": []}', "/jobs"), (b"[]", ""), (b'{"job": []}', ""), (too_many, "/jobs")):
        assert_problem(sent(body), 422, "validation-failed", pointer)
    assert_problem(sent(b'{"jobs": [' + good + b"]}", "/jobs/batch?label=a"), 422, "validation-failed", "/label")
    assert_problem(sent(b"", content_type="text/plain"), 415, "unsupported-media-type")
    large = b'{"jobs": [{"type": "says", "input": {"text": "' + b"a" * 1024 * 1024 + b'"}}, ' + good + b"]}"
    assert_problem(sent(large), 413, "too-large")
    assert_problem(sent(b" " * (MAX_BYTES + 1)), 413, "too-large")
    assert server.request("GET", "/jobs/batch").status == 405
    assert server.request("GET", "/jobs/stats").json["total"] == before


def test_a_thousand_jobs_in_sixteen_mebibytes_are_accepted(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job = {**LATER, "input": {"text": "é" * 8_000}}
    body = json.dumps({"jobs": [job] * MAX_JOBS}, ensure_ascii=False).encode()
    assert 15 * 1024 * 1024 < len(body) <= MAX_BYTES
    listed = outcomes(server.request("POST", "/jobs/batch", body, dict(JSON)))
    assert [outcome["status"] for outcome in listed] == [202] * MAX_JOBS
    assert len({outcome["jobId"] for outcome in listed}) == MAX_JOBS
    assert server.request("GET", "/jobs/stats").json["total"] == MAX_JOBS
    assert server.request("GET", listed[-1]["location"]).json["input"] == job["input"]


def test_errors_are_told_up_to_a_limit(server: ServerProcess) -> None:
    wrong = {"type": "says", "input": {f"unknown-{number}": 1 for number in range(49)}}
    listed = outcomes(post(server, [wrong] * (MAX_ERRORS // 49 + 5)))
    assert sum(len(outcome["problem"]["errors"]) for outcome in listed) == MAX_ERRORS
    assert listed[-1]["problem"]["errors"] == []
    assert listed[-1]["problem"]["detail"] == listed[0]["problem"]["detail"]


def test_a_repeated_batch_has_the_outcomes_of_the_first(server: ServerProcess) -> None:
    key = {"Idempotency-Key": '"a batch"'}
    jobs = [LATER, {"type": "no-such-type"}, LATER]
    first = post(server, jobs, key)
    assert "Idempotency-Replayed" not in first.headers
    job_id = outcomes(first)[0]["jobId"]
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 204
    before = server.request("GET", "/jobs/stats").json["total"]
    body = json.dumps({"jobs": [dict(reversed(job.items())) for job in jobs]}, indent=1).encode()
    again = server.request("POST", "/jobs/batch", body, key | dict(JSON))
    assert (again.status, again.body, again.headers["Idempotency-Replayed"]) == (200, first.body, "true")
    assert server.request("GET", "/jobs/stats").json["total"] == before
    assert post(server, jobs[:2], key).status == 422
    assert server.request("POST", "/jobs", LATER, key).status == 422
    single = {"Idempotency-Key": '"a job"'}
    assert server.request("POST", "/jobs", LATER, single).status == 202
    assert post(server, [LATER], single).json["type"] == "/problems/idempotency-key-reused"
    odd = b'{"jobs": [' + json.dumps(LATER).encode() + b', {"a": 1, "a": %d}]}'
    sent = [
        server.request("POST", "/jobs/batch", odd % number, {"Idempotency-Key": '"odd"', **dict(JSON)})
        for number in (1, 1, 2)
    ]
    assert [reply.status for reply in sent] == [200, 200, 422]
    assert sent[1].body == sent[0].body


@pytest.mark.parametrize("heavy", [True, False])
async def test_a_heavy_batch_is_written_before_its_owners_next_one_is_read(
    heavy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    all_read = asyncio.Event()
    read, accept = _Batch.read, _Batch.accept

    async def reading(batch: _Batch, body: bytes) -> None:
        await read(batch, body)
        events.append("read")
        if events.count("read") == 2:
            all_read.set()

    async def accepting(batch: _Batch, key: str | None) -> BatchOutcomes:
        with suppress(TimeoutError):
            await asyncio.wait_for(all_read.wait(), 0.05 if heavy else None)
        accepted = await accept(batch, key)
        events.append("accepted")
        return accepted

    monkeypatch.setattr(_Batch, "read", reading)
    monkeypatch.setattr(_Batch, "accept", accepting)
    jobs = [LATER | {"input": {"text": "a" * (HEAVY_BYTES if heavy else 1)}}]
    async with (
        Headway(Settings(data_dir=":memory:"), [str(TEST_JOBS)]) as server,
        TestClient(TestServer(server.app())) as client,
    ):
        replies = await asyncio.gather(*(client.post("/jobs/batch", json={"jobs": jobs}) for _ in range(2)))
    assert [reply.status for reply in replies] == [200, 200]
    assert events == (["read", "accepted"] * 2 if heavy else ["read", "read", "accepted", "accepted"])


def test_a_batch_counts_as_many_submissions_as_it_has_jobs(serving: Serving, tmp_path: Path) -> None:
    """Rates, quotas, queue and audit trail treat them as so many requests."""
    ann = make_key(tmp_path, "ann", "--quota", "bytes=1000")
    limits = {"HEADWAY_SUBMISSIONS_PER_MINUTE": "8", "HEADWAY_MAX_QUEUED": "5"}
    server = serving(tmp_path, env=EXPOSED | limits)
    with_key = dict(bearer(ann))
    large = {**LATER, "input": {"text": "a" * 990}}
    reply = post(server, [LATER, large, *[LATER] * 8], with_key)
    listed = outcomes(reply)
    assert [outcome["status"] for outcome in listed] == [202, 507, 202, 202, 202, 202, 503, 503, 429, 429]
    assert all(outcome["retryAfterSeconds"] >= 1 for outcome in listed[-4:])
    assert "r=0;" in reply.headers["RateLimit"]
    assert post(server, [LATER], with_key).status == 429
    server.stop()
    read = run_command("audit", "--json", "--action", "submit", "--data-dir", str(tmp_path))
    entries = [json.loads(line) for line in read.stdout.splitlines()]
    ids = [outcome["jobId"] for outcome in listed if outcome["jobId"]]
    assert sorted(entry["subject"] for entry in entries if entry["outcome"] == "ok") == sorted(ids)
    times = {
        kind: sum(entry["times"] for entry in entries if entry["outcome"] == kind)
        for kind in ("storage-quota-exceeded", "queue-full", "too-many-requests")
    }
    assert times == {"storage-quota-exceeded": 1, "queue-full": 2, "too-many-requests": 3}
