"""A forked server is what one started from scratch is, as far as a test can see."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.processes import on_core
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, alive, run_command

WHO = """
import os, random, sys
from headway import Context, job

def is_socket(fd: str) -> bool:
    try:  # the client's connections come and go
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return True

@job("who")
async def who(ctx: Context) -> dict[str, object]:
    return {
        "arguments": sys.argv[1:], "path": sys.path, "folder": os.getcwd(), "set": os.environ.get("HEADWAY_TICK_S"),
        "descriptors": [fd for fd in os.listdir("/proc/self/fd") if not is_socket(fd)],
        "group": os.getpgid(0), "random": random.random(), "cores": sorted(os.sched_getaffinity(0)),
    }
"""


SETTINGS = {"HEADWAY_TICK_S": "0.05", "HEADWAY_SAMPLES": "false"}
"""Without `def` types it has no nursery, whose sockets come and go."""


def asked(folder: Path, *, from_scratch: bool) -> tuple[ServerProcess, dict[str, Any]]:
    """A server that has ended, and what a job in it found."""
    (folder / "who_jobs.py").write_text(WHO)
    jobs = ("--jobs", str(folder / "who_jobs.py"))
    with ServerProcess(":memory:", *jobs, env=SETTINGS, from_scratch=from_scratch) as server:
        found: dict[str, Any] = server.wait_for(server.submit("who"))["result"]
    return server, found


def test_a_forked_server_finds_what_one_from_scratch_finds(tmp_path: Path) -> None:
    (_, scratch), (server, forked) = asked(tmp_path, from_scratch=True), asked(tmp_path, from_scratch=False)
    for name in ("arguments", "path", "folder", "set"):
        assert forked[name] == scratch[name], name
    assert len(forked["descriptors"]) <= len(scratch["descriptors"])
    assert forked["group"] == server.process.pid
    assert forked["random"] != asked(tmp_path, from_scratch=False)[1]["random"]


def test_a_forked_server_runs_on_the_cores_of_the_test_that_starts_it(tmp_path: Path) -> None:
    for core in os.sched_getaffinity(0):  # whichever of them the template was started on
        with on_core(core):
            assert asked(tmp_path, from_scratch=False)[1]["cores"] == [core]
    assert asked(tmp_path, from_scratch=False)[1]["cores"] == sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_a_forked_server_takes_signals(number: int, code: int) -> None:
    with ServerProcess() as server:
        assert server.process.poll() is None
        server.process.send_signal(number)
        assert server.process.wait(WAIT_TIMEOUT_S) == code
        assert not alive(server.process.pid)


def test_a_forked_command_reports_its_output_and_its_exit_code(tmp_path: Path) -> None:
    done = run_command("keys", "create", "ann", "--data-dir", str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith("hwk_")
    assert done.stderr.startswith("The key 'ann'")
    assert run_command("keys", "revoke", "bob", "--data-dir", str(tmp_path)).returncode == 2
