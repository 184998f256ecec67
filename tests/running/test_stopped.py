"""A keeper or a nursery that no longer works is killed, and its place taken by another."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from headway.running.processes.forked.stopped import SILENT_CHECKS, STOPPED_CHECKS, Watched

from tests.support.process import WAIT_TIMEOUT_S, eventually


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def watched(process: subprocess.Popen[bytes]) -> Iterator[Watched]:
    watched = Watched(process.pid, "sleep")
    yield watched
    watched.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: b") T " in Path(f"/proc/{process.pid}/stat").read_bytes())


def test_one_that_is_stopped_is_killed(process: subprocess.Popen[bytes], watched: Watched) -> None:
    stop(process)
    for _ in range(STOPPED_CHECKS):
        watched.check(owes_answer=False)
    assert process.wait(WAIT_TIMEOUT_S) == -signal.SIGKILL


def test_one_that_goes_on_in_time_lives(process: subprocess.Popen[bytes], watched: Watched) -> None:
    for _ in range(2):
        stop(process)
        for _ in range(STOPPED_CHECKS - 1):
            watched.check(owes_answer=False)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: b") T " not in Path(f"/proc/{process.pid}/stat").read_bytes())
        watched.check(owes_answer=False)
    process.terminate()
    assert process.wait(WAIT_TIMEOUT_S) == -signal.SIGTERM


def test_one_that_does_not_respond_is_killed(process: subprocess.Popen[bytes], watched: Watched) -> None:
    for _ in range(SILENT_CHECKS):
        watched.check(owes_answer=True)
    assert process.wait(WAIT_TIMEOUT_S) == -signal.SIGKILL


def test_one_that_owes_nothing_or_has_responded_lives(process: subprocess.Popen[bytes], watched: Watched) -> None:
    for _ in range(2):
        for _ in range(SILENT_CHECKS - 1):
            watched.check(owes_answer=True)
        watched.responded()
    for _ in range(SILENT_CHECKS):
        watched.check(owes_answer=False)
    process.terminate()
    assert process.wait(WAIT_TIMEOUT_S) == -signal.SIGTERM


def test_one_that_has_ended_is_no_trouble() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    watched = Watched(pid, "true")
    for _ in range(max(STOPPED_CHECKS, SILENT_CHECKS)):
        watched.check(owes_answer=True)
    watched.close()
    watched.kill()
