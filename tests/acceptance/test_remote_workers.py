"""Workers elsewhere, and a server that stops, is killed, or loses them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.process import ROOT, ServerProcess, eventually
from tests.support.raw import assert_problem
from tests.support.working import Worker

REMOTE_JOBS = ROOT / "tests" / "job_types" / "remote_jobs.py"
NO_SAMPLES = {"HEADWAY_SAMPLES": "false"}


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_lease_ends_with_its_server_and_the_job_is_claimed_again(how: str, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--jobs", str(REMOTE_JOBS), env=NO_SAMPLES) as server:
        worker = Worker(server, "hurried")
        job_id = server.submit("hurried", query="?timeoutSeconds=600")
        first = worker.claim()
        first.ok("checkpoint", {"row": 1})
        if how == "stopped":
            assert server.stop() == 0
        else:
            server.kill()
        server.restart()
        assert server.job(job_id)["status"] == "queued"
        assert_problem(first.send("complete"), 409, "lease-lost")
        second = worker.claim()
        assert (second.job_id, second.fields["attempt"], second.fields["checkpoint"]) == (job_id, 2, {"row": 1})
        assert second.ok("complete")["status"] == "completed"


def test_workers_that_wait_do_not_hold_up_a_shutdown() -> None:
    with ServerProcess(":memory:", "--jobs", str(REMOTE_JOBS), env=NO_SAMPLES) as server, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(Worker(server, "double").ask, 50) for _ in range(3)]
        eventually(lambda: "headway_waits_open 3.0" in server.request("GET", "/metrics").body.decode())
        assert server.stop() == 0
        assert [each.result().status for each in waiting] == [204, 204, 204]
