"""kill -9 again and again: right after a 202, at random moments under load, between a side effect and its commit."""

import contextlib
import http.client
import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.record import TERMINAL, sound_record
from tests.support.serving import Serving

GATED_JOBS = str(ROOT / "tests" / "job_types" / "gated_jobs.py")
SEED = 20260301
RIGHT_AFTER = 50
AT_RANDOM = 20
CONNECTION_LOST = (OSError, http.client.HTTPException)


@pytest.mark.slow
def test_fifty_jobs_survive_a_kill_9_at_the_first_byte_of_their_202(serving: Serving, tmp_path: Path) -> None:
    # On a busy machine one job may be running at each of many kills; it must not be given up for that here.
    server = serving(tmp_path, env={"HEADWAY_MAX_RECOVERIES": str(RIGHT_AFTER)})
    for number in range(RIGHT_AFTER):
        request = f"POST /jobs/noop?label=job-{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            first = connection.recv(12)
            server.kill()
        assert first == b"HTTP/1.1 202"
        server.restart()
    jobs = server.request("GET", "/jobs?limit=200").json["jobs"]
    for job in jobs:
        assert server.wait_for(job["jobId"])["status"] == "completed"
    server.kill()
    labels = [job.label for job in sound_record(tmp_path).values()]
    assert sorted(str(label) for label in labels) == sorted(f"job-{number}" for number in range(RIGHT_AFTER))


@dataclass
class Load:
    """Clients that submit, cancel and watch until the server is gone, and the responses they got."""

    server: ServerProcess
    chance: random.Random
    accepted: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)
    newest: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """The newest version of each watched job that a watcher saw, and its state."""
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Put the server under load for the duration of the block, which kills it."""
        stop = threading.Event()
        turns: list[Callable[[random.Random], None]] = [self.submit, self.submit, self.cancel, self.watch, self.watch]
        clients = [
            threading.Thread(target=self._repeat, args=(turn, random.Random(self.chance.random()), stop))
            for turn in turns
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            stop.set()
            for client in clients:
                client.join()

    def _repeat(self, turn: Callable[[random.Random], None], chance: random.Random, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                turn(chance)
            except CONNECTION_LOST:
                stop.wait(0.01)
            except Exception as error:  # noqa: BLE001 - a thread's failure must reach the test
                self.wrong.append(repr(error))
                return

    def submit(self, chance: random.Random) -> None:
        job_type, input = chance.choice(
            (
                ("noop", {}),
                ("noop", {}),
                ("steps-async", {"steps": 5, "step_s": 0.02}),
                ("steps-async", {"steps": 40, "step_s": 0.01}),
                ("steps-process", {"steps": 3, "step_s": 0.02}),
            )
        )
        reply = self.server.request("POST", f"/jobs/{job_type}", input)
        if reply.status != 202:
            self.wrong.append(f"POST: {reply.status} {reply.body!r}")
        self.accepted.append(reply.json["jobId"])
        time.sleep(0.02)  # limits the rate: all jobs must also be run in the end

    def cancel(self, chance: random.Random) -> None:
        if not self.accepted:
            raise ConnectionError("nothing to cancel yet")
        job_id = chance.choice(self.accepted[-20:])
        reply = self.server.request("DELETE", f"/jobs/{job_id}")
        if reply.status in (202, 204):
            self.cancelled.add(job_id)
        elif reply.status == 409:
            self.completed.add(job_id)
        else:
            self.wrong.append(f"DELETE: {reply.status} {reply.body!r}")
        time.sleep(0.05)

    def watch(self, chance: random.Random) -> None:
        if not self.accepted:
            raise ConnectionError("nothing to watch yet")
        # Old ones too, as watchers do that come back after a crash.
        self.watch_once(chance.choice([*self.accepted[-5:], *self.newest]))

    def watch_once(self, job_id: str) -> None:
        known, last = self.newest.get(job_id, (0, None)), 0
        for state in self.server.states(job_id):
            version, seen = state["version"], (state["status"], state["attempt"], state["done"])
            if version <= last or version < known[0] or (version == known[0] and seen != known[1]):
                self.wrong.append(f"{job_id}: {version} {seen} after {last} and, before, {known}")
            last = version
            if version > self.newest.get(job_id, (0, None))[0]:
                self.newest[job_id] = (version, seen)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_under_load_lose_nothing(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, "--max-tasks", "8", "--max-processes", "8")
    chance = random.Random(SEED)
    load = Load(server, chance)
    for _ in range(AT_RANDOM):
        with load.running():
            time.sleep(chance.uniform(0.02, 0.6))  # the random moment is the test
            server.kill()
        assert load.wrong == []
        recorded = sound_record(tmp_path)
        assert set(load.accepted) <= recorded.keys()
        server.restart()
        for job_id in [*load.newest][-3:]:
            _watch_after_crash(load, job_id)
        assert load.wrong == []
    for job_id in load.accepted:
        server.wait_for(job_id)
    server.kill()
    recorded = sound_record(tmp_path)
    ends = Counter(recorded[job_id].status for job_id in load.accepted)
    assert ends.keys() <= TERMINAL
    assert {recorded[job_id].status for job_id in load.cancelled} <= {"cancelled"}
    assert not {recorded[job_id].status for job_id in load.completed} & {"cancelled"}
    assert ends["completed"] > AT_RANDOM, ends
    assert load.cancelled, ends
    assert any(job.attempt > 1 for job in recorded.values()), "no kill fell into a running attempt"


def _watch_after_crash(load: Load, job_id: str) -> None:
    """Read the first state that a watcher gets when it reconnects after the crash."""
    first = next(load.server.states(job_id))
    known = load.newest[job_id]
    if first["version"] < known[0]:
        load.wrong.append(f"{job_id}: {first['version']} after {known}")


@pytest.mark.parametrize("job_type", ["gated-async", "gated-process"])
def test_a_crash_between_a_side_effect_and_its_commit_runs_the_job_again(
    serving: Serving, tmp_path: Path, job_type: str
) -> None:
    server = serving(tmp_path / "data", "--jobs", GATED_JOBS)
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    job_id = server.submit(job_type, {"gate": str(gate), "trace": str(trace)})
    server.wait_for(job_id, "running")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "headway.db", isolation_level=None)) as foreign:
        foreign.execute("PRAGMA busy_timeout = 10000")
        foreign.execute("BEGIN IMMEDIATE")  # from here on the server can commit nothing
        gate.touch()
        eventually(lambda: "the outcome could not be recorded yet" in server.log())
        assert trace.read_text().splitlines() == [f"{job_id} 1"]
        assert server.job(job_id)["status"] == "running"
        server.kill()
        foreign.execute("ROLLBACK")
    server.restart()
    job = server.wait_for(job_id)
    assert (job["status"], job["attempt"], job["result"]) == ("completed", 2, 2)
    assert trace.read_text().splitlines() == [f"{job_id} 1", f"{job_id} 2"]
    server.kill()
    assert [state for _, state in sound_record(tmp_path / "data")[job_id].states] == [
        "running",
        "queued",
        "running",
        "completed",
    ]
