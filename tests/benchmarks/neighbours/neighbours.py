"""The latency of one owner's polls and empty jobs, quiet and while somebody else attacks, in one run.

The server has a core of its own; the attacker is on the other, with the client that measures. That client never waits
for the attacker: where it may, it has a real-time priority (sched(7)), which no process of the server inherits.
"""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.keys import bearer, make_key
from tests.support.process import ROOT, ServerProcess
from tests.support.serving import LATER, ODD_JOBS, TEST_JOBS

from ..processes import LOAD_CORE, SERVER_CORE, on_core
from ..report import Play, Table, percentile
from .attacks import ATTACKS

STORED_JOBS = 6_000
"""Of the attacker."""
POLLS = 400
PACE_S = 0.005
EMPTY_JOBS = 40
WARM_UP_S = 1.0
MOST_RATIO = 3.0
MOST_MORE_MS = 50.0
PUBLIC = {"HEADWAY_PUBLIC_URL": "http://jobs.example"}
"""So that keys are needed, and limits in force."""


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of polls, and of empty jobs from submission to result."""

    polls: list[float]
    jobs: list[float]


def run(play: Play) -> Table:
    """Each attack once, or those that `--sides` names. Each has a server of its own, on a copy of one record.

    On the same record the jobs of one attack would go on while it is quiet before the next.
    """
    table = Table("Another owner's poll and empty job, in ms, quiet and under attack")
    names = [name for name in ATTACKS if not play.sides or name in play.sides]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record")
        attacker, victim = make_key(record, "attacker"), make_key(record, "victim")
        _fill(record, attacker)
        for name in names:
            with tempfile.TemporaryDirectory(dir=folder) as copy:
                shutil.copytree(record, copy, dirs_exist_ok=True)
                quiet, attacked = _compare(name, copy, attacker, victim)
            _add(table, name, quiet, attacked)
    return table


def _compare(name: str, folder: str, attacker: str, victim: str) -> tuple[Latencies, Latencies]:
    """Quiet, and under attack."""
    with on_core(SERVER_CORE), _serving(folder) as server, on_core(LOAD_CORE):
        measure(server, victim, polls=50)
        quiet = measure(server, victim)
        with _attacking(name, server.port, attacker) as process:
            assert os.sched_getaffinity(process.pid) == {LOAD_CORE}
            assert os.sched_getaffinity(server.process.pid) == {SERVER_CORE}
            return quiet, measure(server, victim)


def _serving(folder: str) -> ServerProcess:
    return ServerProcess(folder, "--jobs", f"{TEST_JOBS},{ODD_JOBS}", env=PUBLIC)


def _fill(folder: Path, key: str) -> None:
    with ServerProcess(folder, "--jobs", str(TEST_JOBS), env={"HEADWAY_SUBMISSIONS_PER_MINUTE": "0"}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for _ in range(STORED_JOBS):
            _ask(connection, "POST", f"/jobs/noop{LATER}", key, b"{}")
        connection.close()


@contextmanager
def _attacking(name: str, port: int, key: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.benchmarks.neighbours.attacker", name, str(port), key]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), "the attacker has not begun"
        time.sleep(WARM_UP_S)
        yield process
        assert process.poll() is None, "the attacker has ended"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _first_in_line() -> Iterator[None]:
    """Within this block the process runs before the attacker; without the privilege, like any other."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def measure(server: ServerProcess, key: str, polls: int = POLLS) -> Latencies:
    """Polls at a steady pace, and now and then an empty job that is waited for."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    found = Latencies([], [])
    _, path = _job(connection, key)
    with _first_in_line():
        for place in range(polls):
            found.polls.append(_ask(connection, "GET", path, key)[0])
            if place % (POLLS // EMPTY_JOBS) == 0:
                found.jobs.append(_job(connection, key)[0])
            time.sleep(PACE_S)
    connection.close()
    return found


def _job(connection: http.client.HTTPConnection, key: str) -> tuple[float, str]:
    """How long an empty job took, from its submission to its result, and its path."""
    took_ms, path = _ask(connection, "POST", "/jobs/noop", key, b"{}", Prefer="wait=30")
    return took_ms, path


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, key: str, body: bytes | None = None, **headers: str
) -> tuple[float, str]:
    began_ns = time.perf_counter_ns()
    sent = {**bearer(key), **headers, **({} if body is None else {"Content-Type": "application/json"})}
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    response.read()
    took_ms = (time.perf_counter_ns() - began_ns) / 1e6
    assert response.status in (200, 202), response.status
    return took_ms, (response.headers["Location"] or path).removeprefix(PUBLIC["HEADWAY_PUBLIC_URL"])


def _add(table: Table, name: str, quiet: Latencies, attacked: Latencies) -> None:
    for what, before, after in (("poll", quiet.polls, attacked.polls), ("empty job", quiet.jobs, attacked.jobs)):
        p50, p99 = [(percentile(before, share), percentile(after, share)) for share in (0.5, 0.99)]
        table.add(attack=name, asked=what, quiet_p50=p50[0], attacked_p50=p50[1], quiet_p99=p99[0], attacked_p99=p99[1])
        table.expect(f"neighbours: {name}: {what}, p50, times quiet", p50[1] / p50[0], at_most=MOST_RATIO)
        table.expect(f"neighbours: {name}: {what}, p99, ms above quiet", p99[1] - p99[0], at_most=MOST_MORE_MS)
