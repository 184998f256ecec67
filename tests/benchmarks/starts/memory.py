"""Processes that share a large buffer which was made before they were forked: their memory, against one that has it.

A page that several processes share counts in each for its part (PSS), so all of them have to be added: the children,
the spare ones, the nursery, the process that it is forked from.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from tests.support.process import ServerProcess, descendants

from ..processes import resident_kib
from ..report import Play, Table
from .loading import MIB
from .over_http import serving

CHILDREN = 8
SIZE_MIB = 500
KIB = 1024


def run(play: Play, mib: int = SIZE_MIB) -> Table:
    table = Table(
        f"{CHILDREN} def jobs at once with one buffer of {mib} MiB, before_fork: MiB (PSS), {play.rounds} rounds"
    )
    rounds = []
    for _ in range(play.rounds):
        with _one_process(mib) as pid:
            one = resident_kib([pid]) / KIB
        rounds.append((_of_the_children(mib), one))
    children, one = (median(column) for column in zip(*rounds, strict=True))
    table.add(processes=f"{CHILDREN} children and all others below the server", mib=children)
    table.add(processes="one process that has the buffer", mib=one)
    ratio = median(several / single for several, single in rounds)
    table.expect(f"starts: memory of {CHILDREN} processes with a buffer in common, by that of one", ratio, at_most=1.2)
    return table


def _of_the_children(mib: int) -> float:
    env = {MIB: str(mib), "HEADWAY_MAX_PROCESSES": str(CHILDREN), "HEADWAY_CANCEL_GRACE_S": "0.1"}
    with serving("buffer_jobs", env=env) as server:
        for job_id in [server.submit("reads-the-buffer") for _ in range(CHILDREN)]:
            _wait_until_read(server, job_id)
        return resident_kib(descendants(server.process.pid)) / KIB


def _wait_until_read(server: ServerProcess, job_id: str) -> None:
    for state in server.states(job_id):
        if state["message"] == "read":
            return
    raise AssertionError(f"the job ended early: {server.job(job_id)}")


@contextmanager
def _one_process(mib: int) -> Iterator[int]:
    code = f"buffer = b'\\x01' * ({mib} << 20); print('made', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        yield process.pid
        process.kill()
