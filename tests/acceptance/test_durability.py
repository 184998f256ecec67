"""The system calls, as strace saw them: the record is synced before the client is sent its 202."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.serving import TEST_JOBS

SUBMISSIONS = 20
CALLS = "trace=fsync,fdatasync,write,writev,pwrite64,pwritev,sendto,sendmsg"
NO_DISKS = frozenset({"tmpfs", "ramfs", "overlay-memory"})


def _without_strace(reason: str) -> None:
    """Skip with a clear message, or fail if strace is required: durability is then not tested."""
    if os.environ.get("TESTS_REQUIRE_STRACE") == "1":
        pytest.fail(f"strace is required here: {reason}")
    pytest.skip(f"THE SYNC BEFORE EACH 202 IS NOT SHOWN: {reason}")


@pytest.fixture
def folder_on_a_disk() -> Iterator[Path]:
    """A folder on a real disk: on the checkout's file system if temporary files are in memory."""
    for parent in (Path(tempfile.gettempdir()), ROOT):
        kind = subprocess.run(["stat", "-f", "-c", "%T", parent], capture_output=True, text=True, check=True)
        if kind.stdout.strip() not in NO_DISKS:
            with tempfile.TemporaryDirectory(prefix="headway-strace-", dir=parent) as folder:
                yield Path(folder)
            return
    pytest.fail("there is no real file system here")


def test_the_record_is_synced_before_each_202(folder_on_a_disk: Path) -> None:
    if shutil.which("strace") is None:
        _without_strace("it is not installed")
    log = folder_on_a_disk / "strace.log"
    arguments = ("--jobs", str(TEST_JOBS), "--max-tasks", "1", "--max-processes", "1")
    with ServerProcess(folder_on_a_disk / "data", *arguments, from_scratch=True) as server:
        server.submit("noop")
        tracer = _attached(server.process.pid, log)
        ids = [server.submit("noop", query="?runAt=2099-01-01T00:00:00Z") for _ in range(SUBMISSIONS)]
        ids.append(server.upload("reads-upload", {"document": b"a,b\n1,2\n"}))
        eventually(lambda: log.read_text("latin-1").count("HTTP/1.1 202") >= len(ids), "strace missed the answers")
        tracer.terminate()
        tracer.communicate(timeout=WAIT_TIMEOUT_S)
    _check_order(log.read_text("latin-1"), len(ids))


def _attached(pid: int, log: Path) -> "subprocess.Popen[bytes]":
    """Attach strace to all threads of a process, and wait until it is attached; `-y` shows the files of descriptors."""
    command = ["strace", "-f", "-y", "-s", "40", "-e", CALLS, "-o", str(log), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    said = tracer.stderr.readline().decode()
    if "attached" not in said:
        tracer.communicate(timeout=WAIT_TIMEOUT_S)
        _without_strace(f"it cannot trace here: {said.strip()}")
    return tracer


def _check_order(trace: str, expected: int) -> None:
    """Check that between two 202s there is a write to the WAL, followed by a sync of the WAL that has returned.

    What is written after that sync is not the submission's: on a slow machine, it stands before the answer.
    """
    wal = r"\d+<[^>]*headway\.db-wal>"
    written, synced, answers = False, False, 0
    syncing: set[str] = set()
    for line in trace.splitlines():
        thread = line.split(maxsplit=1)[0]
        if re.search(rf"pwrite64\({wal}", line):
            written = True
        elif re.search(rf"f(data)?sync\({wal}", line):
            syncing.add(thread)
        if thread in syncing and re.search(r"f(data)?sync.*= 0", line):
            syncing.discard(thread)
            synced = synced or written
        if "HTTP/1.1 202" in line:
            assert synced, f"a 202 without a sync before it:\n{line}"
            answers += 1
            written = synced = False
    assert answers == expected
