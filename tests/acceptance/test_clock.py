"""The wall clock is set back while the server runs or between two runs: ids still grow, nothing expires or hangs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import ROOT, ServerProcess, eventually
from tests.support.serving import TEST_JOBS

HOUR_S = 3600


class _Bent(ServerProcess):
    script = ROOT / "tests" / "support" / "faulty_server.py"


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[ServerProcess, Path]]:
    """A server, and the file that holds the offset of its clock."""
    clock = folder / "clock"
    arguments = ("--jobs", str(TEST_JOBS), "--max-tasks", "4")
    with _Bent(folder / "data", *arguments, env={"HEADWAY_TEST_CLOCK_FILE": str(clock)}) as server:
        yield server, clock


def _set(clock: Path, seconds: float) -> None:
    """Set the offset atomically."""
    new = clock.with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(clock)


def test_a_clock_set_back_delays_nothing_and_ids_keep_growing(tmp_path: Path) -> None:
    with _serving(tmp_path) as (server, clock):
        ids = [server.submit("noop")]
        server.wait_for(ids[0])
        running = server.submit("steps-async", {"steps": 60, "step_s": 0.02})
        server.wait_for(running, "running")
        kept = server.submit("noop", query="?retainSeconds=60")
        server.wait_for(kept)
        _set(clock, -HOUR_S)
        for _ in range(5):
            ids.append(server.submit("noop"))
            assert server.wait_for(ids[-1])["status"] == "completed"
        assert ids == sorted(ids)
        created = [server.job(job_id)["createdAt"] for job_id in ids]
        assert created == sorted(created)
        assert server.wait_for(running)["status"] == "completed"
        retried = server.submit("third-time")  # its back-off is measured with the same clock
        assert server.wait_for(retried)["result"] == 3
        assert server.job(kept)["status"] == "completed"
        # When the clock is set forward by an hour, the server follows it.
        _set(clock, HOUR_S)
        eventually(lambda: server.request("GET", f"/jobs/{kept}").status == 404)
        assert server.job(ids[0])["status"] == "completed"


def test_queued_jobs_are_due_at_once_if_the_clock_was_set_back_between_two_runs(tmp_path: Path) -> None:
    with _serving(tmp_path) as (server, clock):
        blockers = [server.submit("steps-async", {"steps": 1000, "step_s": 0.05}) for _ in range(40)]
        waiting = server.submit("noop")
        later = server.submit("noop", query="?runAt=2099-01-01T00:00:00Z")
        assert server.job(waiting)["status"] == "queued"
        version = server.job(waiting)["version"]
        server.kill()
        _set(clock, -HOUR_S)
        server.restart()
        for job_id in blockers:
            assert server.request("DELETE", f"/jobs/{job_id}").status in (202, 204)
        job = server.wait_for(waiting)
        assert job["status"] == "completed"
        assert job["version"] > version
        assert server.job(later)["status"] == "queued"
        assert server.wait_for(server.submit("noop"))["status"] == "completed"
