"""The sales report's ledger in a real server: of many reports that start together, one creates it."""

import fcntl
from pathlib import Path

from headway.samples.sales_ledger import MONTHS

from tests.support.process import ServerProcess

JANUARY = {"from": "2024-01-01", "to": "2024-01-31"}
MADE = "the ledger was created"


def lines_of(server: ServerProcess, job_id: str) -> list[str]:
    return [line["message"] for line in server.request("GET", f"/jobs/{job_id}/logs").json["lines"]]


def test_reports_that_start_together_create_one_ledger(tmp_path: Path) -> None:
    data = tmp_path / "types" / "sales-report"
    data.mkdir(parents=True)
    with ServerProcess(tmp_path, "--max-processes", "4") as server:
        with (data / "ledger.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ids = [server.submit("sales-report", input) for input in ({}, JANUARY, JANUARY, JANUARY)]
            for job_id in ids:
                assert any(state["step"] == "waiting for the ledger" for state in server.states(job_id))
            # All four have seen that there is no ledger, and wait for the lock.
        ended = [server.wait_for(job_id) for job_id in ids]
        assert [job["status"] for job in ended] == ["completed"] * 4
        whole, *januaries = [job["result"]["orders"] for job in ended]
        assert whole == 500_000
        assert len(set(januaries)) == 1
        made = [job_id for job_id in ids if any(line.startswith(MADE) for line in lines_of(server, job_id))]
        assert len(made) == 1
        assert sorted(path.name for path in (data / "ledger-2").iterdir()) == [f"{month}.csv" for month in MONTHS]
        assert sorted(path.name for path in data.iterdir()) == ["ledger-2", "ledger.lock"]
