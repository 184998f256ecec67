"""Real servers with quotas, killed in the middle of their work: what they count is right at each next start."""

from pathlib import Path

from tests.support.process import ServerProcess, eventually, run_command
from tests.support.serving import TEST_JOBS

KILLS = 4
QUOTA = {"HEADWAY_QUOTA": "jobs=60,bytes=50MB"}


def test_the_counts_are_right_after_each_kill(tmp_path: Path) -> None:
    """As many jobs as may be kept. They log, keep checkpoints, write files and return results."""
    with ServerProcess(tmp_path, "--jobs", str(TEST_JOBS), env=QUOTA) as server:
        for round in range(KILLS):
            for number in range(5):
                server.submit("writes-files", {"text": f"{round} {number}"})
                server.submit("checkpoints", {"steps": 30, "step_s": 0.01})
                server.submit("says", {"text": "é" * number})
            eventually(lambda before=round: server.request("GET", "/jobs/stats").json["byStatus"]["completed"] > before)
            server.kill()
            server.restart()
            examined = run_command("doctor", "--data-dir", str(tmp_path))
            assert examined.returncode == 0, examined.stdout
        while ids := [job["jobId"] for job in server.request("GET", "/jobs?status=queued,running").json["jobs"]]:
            server.wait_for(ids[0])
        assert server.request("POST", "/jobs/noop", {}).status == 429
        used = server.request("GET", "/usage").json["owner"]
        jobs = [server.job(job["jobId"]) for job in server.request("GET", "/jobs?limit=200").json["jobs"]]
        assert used["jobs"]["used"] == len(jobs) == server.request("GET", "/jobs/stats").json["total"]
        assert used["bytes"]["used"] > sum(file["sizeBytes"] for job in jobs for file in job["files"]) > 0
        purged = run_command("purge", "--older-than", "0s", "--data-dir", str(tmp_path))
        assert purged.returncode == 0, purged.stderr
        empty = server.request("GET", "/usage").json["owner"]
        assert {name: empty[name]["used"] for name in ("jobs", "bytes", "queued", "running")} == {
            "jobs": 0, "bytes": 0, "queued": 0, "running": 0
        }  # fmt: skip


def test_as_many_jobs_run_at_once_as_may_after_a_kill_too(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--jobs", str(TEST_JOBS), env={"HEADWAY_QUOTA": "running=2"}) as server:

        def running() -> list[str]:
            return [job["jobId"] for job in reversed(server.request("GET", "/jobs?status=running").json["jobs"])]

        jobs = [server.submit("steps-async", {"steps": 10_000, "step_s": 0.05}) for _ in range(6)]
        eventually(lambda: running() == jobs[:2])
        server.kill()
        server.restart()
        eventually(lambda: running() == jobs[:2])
        server.request("DELETE", f"/jobs/{jobs[0]}")
        eventually(lambda: running() == jobs[1:3])
        assert [server.job(job_id)["queuePosition"] for job_id in jobs[3:]] == [1, 2, 3]
        used = server.request("GET", "/usage").json["owner"]
        assert (used["running"], used["queued"]["used"]) == ({"used": 2, "limit": 2}, 3)
        examined = run_command("doctor", "--data-dir", str(tmp_path))
        assert examined.returncode == 0, examined.stdout
        assert run_command("quota", "local", "running=3", "--data-dir", str(tmp_path)).returncode == 0
        eventually(lambda: running() == jobs[1:4])
        assert run_command("quota", "local", "none", "--data-dir", str(tmp_path)).returncode == 0
        eventually(lambda: running() == jobs[1:])
