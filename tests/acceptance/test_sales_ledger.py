"""The sample's ledger in a real server: made once by many reports that start together, and whole after a kill."""

from pathlib import Path

from server.samples.sales_ledger import MONTHS
from tests.process import ServerProcess

MADE = "the ledger was created"


def lines_of(server: ServerProcess, job_id: str) -> list[str]:
    return [line["message"] for line in server.request("GET", f"/jobs/{job_id}/logs").json["lines"]]


def test_a_kill_in_the_middle_leaves_nothing_half_and_reports_that_start_together_make_it_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--max-running", "4") as server:
        first = server.submit("sales-report")
        half = next(state for state in server.states(first) if state["step"] == "creating the ledger")
        server.kill()
        assert half["status"] == "running"
        data = tmp_path / "types" / "sales-report"
        assert not (data / "ledger-1").exists()

        server.restart()
        ids = [first, *(server.submit("sales-report") for _ in range(3))]
        ended = [server.wait_for(job_id) for job_id in ids]
        assert [job["status"] for job in ended] == ["completed"] * 4
        assert [job["result"]["orders"] for job in ended] == [500_000] * 4
        made = [job_id for job_id in ids if any(line.startswith(MADE) for line in lines_of(server, job_id))]
        assert len(made) == 1
        assert sorted(path.name for path in (data / "ledger-1").iterdir()) == [f"{month}.csv" for month in MONTHS]
        assert sorted(path.name for path in data.iterdir()) == ["ledger-1", "ledger.lock"]
