"""One idempotency key, one job: however many requests come at once, and whenever the server is killed."""

import contextlib
import http.client
import threading
from pathlib import Path

from tests.support.process import Reply, ServerProcess
from tests.support.record import sound_record
from tests.support.serving import Serving

CLIENTS = 20
KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
LATER = "/jobs/steps-async?runAt=2099-01-01T00:00:00Z"


def _at_once(server: ServerProcess) -> list[Reply]:
    """Submit the same with one key from twenty clients at once. Returns the responses of those that got one."""
    replies: list[Reply] = []
    ready = threading.Barrier(CLIENTS)

    def client() -> None:
        ready.wait()
        with contextlib.suppress(OSError, http.client.HTTPException):  # the server was killed
            replies.append(server.request("POST", LATER, {"steps": 1}, KEY))

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return replies


def test_twenty_posts_with_one_key_are_one_job_also_after_a_kill(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    replies = _at_once(server)
    assert [reply.status for reply in replies] == [202] * CLIENTS
    (job_id,) = {reply.json["jobId"] for reply in replies}
    assert {reply.headers["Location"] for reply in replies} == {f"/jobs/{job_id}"}
    assert sum(reply.headers["Idempotency-Replayed"] == "true" for reply in replies) == CLIENTS - 1
    assert server.request("GET", "/jobs/stats").json["total"] == 1
    server.kill()
    assert sound_record(tmp_path).keys() == {job_id}
    server.restart()
    again = _at_once(server)
    assert {(reply.status, reply.json["jobId"], reply.headers["Idempotency-Replayed"]) for reply in again} == {
        (202, job_id, "true")
    }
    assert server.request("GET", "/jobs/stats").json["total"] == 1


def test_a_kill_during_requests_with_one_key_leaves_one_job_or_none(serving: Serving, tmp_path: Path) -> None:
    """A request repeated after the restart gets the job that the earlier response named."""
    for attempt in range(3):
        server = serving(tmp_path / str(attempt))
        killer = threading.Timer(0.002 * attempt, server.kill)
        killer.start()
        before = _at_once(server)
        killer.join()
        server.process.wait()
        server.restart()
        reply = server.request("POST", LATER, {"steps": 1}, KEY)
        assert reply.status == 202
        assert {answer.json["jobId"] for answer in before} <= {reply.json["jobId"]}
        assert server.request("GET", "/jobs/stats").json["total"] == 1


def test_a_kill_during_a_batch_leaves_all_of_its_jobs_or_none(serving: Serving, tmp_path: Path) -> None:
    """Repeated after the restart, it has the outcomes that were told before, and each job is there once."""
    jobs = [{"type": "steps-async", "input": {"steps": 1}, "runAt": "2099-01-01T00:00:00Z"}] * 500
    for attempt in range(4):
        server = serving(tmp_path / str(attempt))
        killer = threading.Timer(0.03 * attempt, server.kill)
        killer.start()
        before: Reply | None = None
        with contextlib.suppress(OSError, http.client.HTTPException):
            before = server.request("POST", "/jobs/batch", {"jobs": jobs}, KEY)
        killer.join()
        server.process.wait()
        recorded = sound_record(tmp_path / str(attempt)).keys()
        assert len(recorded) in (0, 500)
        server.restart()
        again = server.request("POST", "/jobs/batch", {"jobs": jobs}, KEY)
        assert (again.status, again.json["accepted"]) == (200, 500)
        assert (again.headers.get("Idempotency-Replayed") == "true") == bool(recorded)
        assert before is None or again.body == before.body
        assert server.request("GET", "/jobs/stats").json["total"] == 500
        assert {outcome["jobId"] for outcome in again.json["outcomes"]} >= recorded
