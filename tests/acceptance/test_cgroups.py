"""A server in a cgroup that is delegated to it: what it has left when all of its processes are killed is swept."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cgroups import delegated, moved_into
from tests.support.process import ROOT, ServerProcess, alive, descendants, eventually

HOSTILE_JOBS = str(ROOT / "tests" / "job_types" / "hostile_jobs.py")


class ContainedServer(ServerProcess):
    """A server that is started in a cgroup."""

    def __init__(self, cgroup: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._command = moved_into(cgroup, self._command)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with delegated() as path:
        yield path


def test_a_daemon_that_outlived_its_server_is_killed_by_the_next(cgroup: Path, tmp_path: Path) -> None:
    env = {"HOSTILE_FOLDER": str(tmp_path)}
    with ContainedServer(cgroup, tmp_path / "data", "--jobs", HOSTILE_JOBS, env=env) as server:
        job_id = server.submit("hostile-process", {"act": "starts_a_daemon_in_a_session", "goes_on": True})
        eventually((tmp_path / f"{job_id}.ready").exists)
        child, daemon = map(int, (tmp_path / job_id).read_text().split())
        kill_at_once({server.process.pid, *descendants(server.process.pid)} - {child, daemon})
        server.process.wait()
        eventually(lambda: not alive(child))
        assert alive(daemon)
        server.restart()
        assert not alive(daemon)
        job = server.wait_for(job_id)
        assert (job["status"], job["attempt"]) == ("completed", 2)
        assert server.stop() == 0
        assert not [entry for entry in cgroup.iterdir() if entry.is_dir()]


def kill_at_once(pids: set[int]) -> None:
    """None of them notices that another one is gone."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
