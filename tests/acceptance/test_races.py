"""Races, over and over: the order of the commits decides, and every response agrees with it."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.process import ROOT, eventually
from tests.support.record import sound_record
from tests.support.serving import Serving

GATED_JOBS = str(ROOT / "tests" / "job_types" / "gated_jobs.py")
CLIENTS = 4
DELETES = 200
PURGES = 100


def _at_once(count: int, one: Callable[[int], None]) -> None:
    """Call `one` with each number below `count`, from a few threads. Raises the first error of any of them."""
    failures: list[BaseException] = []

    def client(first: int) -> None:
        try:
            for number in range(first, count, CLIENTS):
                one(number)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    clients = [threading.Thread(target=client, args=(first,)) for first in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    if failures:
        raise failures[0]


class _Aim:
    """A delay that converges on the moment of the race: longer after an early try, shorter after a late one."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def wait(self) -> None:
        time.sleep(self._delay_s)

    def was(self, *, late: bool) -> None:
        self._delay_s = max(0.0, self._delay_s + (-0.003 if late else 0.003))


def test_200_cancels_that_race_the_end_are_decided_by_the_order_of_the_commits(
    serving: Serving, tmp_path: Path
) -> None:
    server = serving(tmp_path, "--max-tasks", "8")
    answers: dict[str, int] = {}
    aim = _Aim(0.02)

    def race(_: int) -> None:
        job_id = server.submit("steps-async", {"steps": 2, "step_s": 0.01})
        aim.wait()
        reply = server.request("DELETE", f"/jobs/{job_id}")
        aim.was(late=reply.status == 409)
        answers[job_id] = reply.status

    _at_once(DELETES, race)
    ends = {204: "cancelled", 409: "completed"}
    assert set(answers.values()) == ends.keys(), Counter(answers.values())
    assert min(Counter(answers.values()).values()) > DELETES // 10, "the race was never open"
    for job_id, status in answers.items():
        assert server.job(job_id)["status"] == ends[status]
    server.kill()
    recorded = sound_record(tmp_path)  # each history has exactly one terminal state
    assert {job_id: job.status for job_id, job in recorded.items()} == {
        job_id: ends[status] for job_id, status in answers.items()
    }


def test_100_purges_that_race_the_claim_and_the_end_leave_nothing(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, "--max-tasks", "4", "--jobs", GATED_JOBS)
    purged: list[str] = []
    found: Counter[str] = Counter()

    def race(number: int) -> None:
        job_id = server.upload("takes-an-attachment", {"attachment": b"a,b\n1,2\n"}, {"seconds": 0.01})
        if number % 10 == 9:  # after the end, however slow the machine
            eventually(lambda: server.job(job_id)["status"] == "completed")
        else:  # from before the claim to the end
            time.sleep((number % 10) * 0.003)
        found[server.job(job_id)["status"]] += 1
        reply = server.request("DELETE", f"/jobs/{job_id}?purge=true")
        assert reply.status in (202, 204), reply.body
        if reply.status == 204:
            assert server.request("GET", f"/jobs/{job_id}").status == 404
        purged.append(job_id)

    _at_once(PURGES, race)
    assert len(purged) == PURGES
    assert found["completed"], found
    assert found["queued"] + found["running"], found
    for job_id in purged:
        eventually(lambda job_id=job_id: server.request("GET", f"/jobs/{job_id}").status == 404)
    assert server.request("GET", "/jobs/stats").json["total"] == 0
    eventually(lambda: _folders(tmp_path) == [], "files outlived their jobs")
    assert "Traceback" not in server.log()
    server.kill()
    assert sound_record(tmp_path) == {}  # and no history without a job


def _folders(data_dir: Path) -> list[str]:
    return [entry.name for part in ("jobs", "incoming") for entry in (data_dir / part).iterdir()]


def test_submissions_during_the_stop_are_kept_or_refused(serving: Serving, tmp_path: Path) -> None:
    """Several clients submit before, during and after the signal: they get a durable 202, a 503, or no response."""
    server = serving(tmp_path)
    blocker = server.submit("stubborn-process")
    server.wait_for(blocker, "running")
    accepted: list[str] = []
    refused: list[int] = []
    begun = threading.Semaphore(0)

    def client(_: int) -> None:
        while True:
            try:
                reply = server.request("POST", "/jobs/noop?runAt=2099-01-01T00:00:00Z", {})
            except OSError:
                return  # the server is gone
            begun.release()
            if reply.status != 202:
                refused.append(reply.status)
                return
            accepted.append(reply.json["jobId"])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for _ in range(3 * CLIENTS):
        begun.acquire()
    assert server.stop() == 0, server.log()
    for thread in threads:
        thread.join()
    assert set(refused) <= {503}
    recorded = sound_record(tmp_path)
    assert set(accepted) <= recorded.keys()
    # Without a response the client cannot know; each such request may have created a job.
    assert len(recorded.keys() - {*accepted, blocker}) <= CLIENTS
