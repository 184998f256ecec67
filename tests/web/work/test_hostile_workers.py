"""A worker with the right to do a job that lies: what it sends harms neither the server nor other owners."""

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from headway.web.endpoints.work.reports import MAX_PROGRESS_BYTES

from tests.support.process import ServerProcess
from tests.support.raw import assert_problem
from tests.support.working import Assignment, Worker
from tests.web.conftest import assert_no_unexpected_errors

JSON = {"Content-Type": "application/json"}
MAX_BODY_BYTES = 200_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    anything = tmp_path_factory.mktemp("types") / "anything.json"
    anything.write_text(json.dumps({"name": "anything", "leaseSeconds": 600}))
    env = {"HEADWAY_SAMPLES": "false", "HEADWAY_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with ServerProcess(":memory:", "--jobs", str(anything), env=env) as server:
        yield server
        assert_no_unexpected_errors(server)


@pytest.fixture
def assignment(server: ServerProcess) -> Assignment:
    """A job whose result may be anything."""
    server.submit("anything")
    return Worker(server, "anything").claim()


def test_odd_text_is_replaced_where_it_enters(server: ServerProcess, assignment: Assignment) -> None:
    """JavaScript cuts a text in the middle of a character, and sends the half."""
    odd, shown = rb"a\ud83d\\ud83d\u0000\ud83d\ude00\ude00\u001b[2Jb", "a�\\ud83d�😀�b"
    states = server.states(assignment.job_id)
    assert next(states)["status"] == "running"
    assignment.ok("progress", b'{"message": "%s", "step": "%s", "unit": "%s"}' % (odd, odd, odd), **JSON)
    state = next(state for state in states if state["message"])
    assert (state["message"], state["step"], state["unit"]) == (shown, shown, shown)
    assignment.ok("logs", b'{"lines": [{"message": "%s"}]}' % odd, **JSON)
    assignment.ok("fail", b'{"title": "%s", "detail": "%s", "type": "%s", "retry": false}' % (odd, odd, odd), **JSON)
    error = server.wait_for(assignment.job_id, "failed")["error"]
    assert (error["title"], error["detail"], error["type"]) == (shown, shown, shown)
    lines = server.request("GET", f"/jobs/{assignment.job_id}/logs").json["lines"]
    assert shown in [line["message"] for line in lines]


@pytest.mark.parametrize("step", ["checkpoint", "complete"])
def test_odd_text_in_what_is_kept_as_it_is_is_refused(assignment: Assignment, step: str) -> None:
    refused = assignment.send(step, rb'{"result": "\ud83d"}', **JSON)
    assert "surrogate" in assert_problem(refused, 400, "malformed-request")["detail"]
    assert assignment.ok("complete", {"result": "\0\x1b[2J"})["status"] == "completed"


def test_a_result_is_as_large_as_any_body_and_a_larger_one_is_a_file(
    server: ServerProcess, assignment: Assignment
) -> None:
    """Parsing, validating and writing sixteen megabytes of JSON held the event loop for seconds."""
    most = MAX_BODY_BYTES - len(b'{"result": ""}')
    refused = assignment.send("complete", b'{"result": "%s"}' % (b"a" * (most + 1)), **JSON)
    assert_problem(refused, 413, "too-large")
    assert assignment.send("files/result.json", b"a" * (most + 1), "PUT").status == 200
    ended = assignment.ok("complete", b'{"result": "%s"}' % (b"a" * most), **JSON)
    assert ended["status"] == "completed"
    assert server.request("GET", f"/jobs/{assignment.job_id}/result").json == "a" * most


BOMB = gzip.compress(b" " * 20_000_000)
DEEP = b"[" * 90_000 + b"]" * 90_000
REFUSED_BODIES = {
    "deep": (DEEP, {}, 400),
    "NaN": (b'{"result": NaN, "done": NaN}', {}, 422),
    "infinity": (b'{"result": 1e999, "done": -1e999}', {}, 422),
    "5,000 digits": (b'{"result": 1%s, "done": 1%s}' % (b"0" * 5_000, b"0" * 5_000), {}, 422),
    "two of a name": (b'{"result": 1, "result": 2, "done": 1, "done": 2}', {}, 422),
    "bomb": (BOMB, {"Content-Encoding": "gzip"}, 413),
    "bomb in a bomb": (gzip.compress(BOMB), {"Content-Encoding": "gzip, gzip"}, 415),
    "no gzip": (b"{}", {"Content-Encoding": "gzip"}, 400),
    "another charset": ("{}".encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}, 400),
    "no JSON": (b"\x89PNG", {}, 400),
    "a form": (b"{}", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
}


@pytest.mark.parametrize("lie", REFUSED_BODIES)
def test_what_lies_about_itself_is_refused_and_the_lease_goes_on(
    server: ServerProcess, assignment: Assignment, lie: str
) -> None:
    body, headers, status = REFUSED_BODIES[lie]
    for step in ("progress", "checkpoint", "complete"):
        larger = status in (400, 422) and step == "progress" and len(body) > MAX_PROGRESS_BYTES
        refused = assignment.send(step, body, **{**JSON, **headers})
        assert refused.status == (413 if larger else status), (step, refused.body)
    assert server.job(assignment.job_id)["status"] == "running"
    assert assignment.ok("complete", {"result": 1})["status"] == "completed"


def test_a_part_of_a_file_is_not_taken_for_the_file(server: ServerProcess, assignment: Assignment) -> None:
    """`curl --continue-at` sends one (RFC 9110, 14.5)."""
    part = assignment.send("files/a.txt", b"half", "PUT", **{"Content-Range": "bytes 4-7/8"})
    assert "Content-Range" in assert_problem(part, 400, "malformed-request")["detail"]
    assignment.ok("complete", {"result": 1})
    assert server.job(assignment.job_id)["files"] == []


def test_of_an_end_and_a_failure_at_once_one_counts_and_answers_all(
    server: ServerProcess, assignment: Assignment
) -> None:
    def report(number: int) -> str:
        step, body = ("complete", {"result": number}) if number % 2 else ("fail", {"retry": False})
        return json.dumps(assignment.ok(step, body))

    with ThreadPoolExecutor(8) as pool:
        (answer,) = set(pool.map(report, range(8)))
    assert server.job(assignment.job_id)["status"] == json.loads(answer)["status"]


@pytest.mark.parametrize("round_", range(10))
def test_a_file_that_is_sent_beside_the_end_is_output_or_refused(
    server: ServerProcess, assignment: Assignment, round_: int
) -> None:
    """Whichever comes first: what was answered with a 200 is there."""
    names = [f"{round_}-{number}.bin" for number in range(8)]
    with ThreadPoolExecutor(len(names) + 1) as pool:
        sending = {name: pool.submit(assignment.send, f"files/{name}", b"x" * 100_000, "PUT") for name in names}
        completing = pool.submit(assignment.ok, "complete")
    assert completing.result()["status"] == "completed"
    statuses = {name: sent.result().status for name, sent in sending.items()}
    assert set(statuses.values()) <= {200, 409}
    stored = {name for name, status in statuses.items() if status == 200}
    assert {file["name"] for file in server.job(assignment.job_id)["files"]} == stored
