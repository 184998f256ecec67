"""A worker with the right to do a job that lies: what it sends harms neither the server nor other owners."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

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
