"""A thousand watchers: a stalled one harms no other, and those that come and go leak nothing."""

import contextlib
import re
import resource
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.raw import RawStream, data_of, is_state
from tests.support.serving import LATER, Serving

WATCHED_JOBS = str(ROOT / "tests" / "job_types" / "watched_jobs.py")
WATCHERS = 1_000
UPDATES = 100_000
FRAMES = 15_000
LONG_S = 240.0
"""A time-out that holds even while a thousand readers share a busy core."""
CYCLES = 1_000
MIB = 1024 * 1024
VERSION = re.compile(rb'"version":(\d+)\}\n\n')
ROOM = {"HEADWAY_MAX_STREAMS_PER_CLIENT": "5000"}


@pytest.fixture(autouse=True)
def _many_sockets() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_bytes(server: ServerProcess) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def open_streams(server: ServerProcess) -> int:
    text = server.request("GET", "/metrics").body.decode()
    return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith("headway_streams_open "))


class Readers:
    """Many readers of one stream, read side by side; of each the versions in the order in which they came."""

    def __init__(self, server: ServerProcess, path: str, count: int) -> None:
        self._server = server
        self._selector = selectors.DefaultSelector()
        self.versions: list[list[int]] = [[] for _ in range(count)]
        self.ended = 0
        for number in range(count):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self._selector.register(connection, selectors.EVENT_READ, (number, bytearray()))

    def read(self) -> None:
        """Whatever has come, after a moment's wait at most."""
        for key, _ in self._selector.select(0.05):
            number, rest = key.data
            assert isinstance(key.fileobj, socket.socket)
            rest += key.fileobj.recv(65536)
            ends = rest.rfind(b"\n\n") + 2
            self.versions[number] += map(int, VERSION.findall(rest[:ends]))
            if rest.endswith(b"\r\n0\r\n\r\n"):
                self.ended += 1
                self._selector.unregister(key.fileobj)
                key.fileobj.close()
            del rest[: max(0, ends)]

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def read_until(self, condition: Callable[[], object]) -> int:
        """Read on until the condition holds; the most memory that the server had meanwhile."""
        most, end_s = resident_bytes(self._server), time.monotonic() + LONG_S
        while not condition():
            assert time.monotonic() < end_s, "nothing was received in time"
            self.read()
            most = max(most, resident_bytes(self._server))
        return most


def started(server: ServerProcess, folder: Path, updates: int, burst: int) -> str:
    """A job that waits for `begin`, reports, and waits for `end`; its stream."""
    gates = {"begin": str(folder / "begin"), "end": str(folder / "end")}
    job_id = server.submit("reports-all-the-time", {"updates": updates, "burst": burst, **gates})
    server.wait_for(job_id, "running")
    return f"/jobs/{job_id}/progress"


# It takes ten seconds and more: a reader must be behind before it can be seen to take nothing.
@pytest.mark.slow
def test_one_that_takes_nothing_among_a_thousand_is_cut_and_costs_the_others_nothing(
    serving: Serving, tmp_path: Path
) -> None:
    server = serving(
        ":memory:", "--jobs", WATCHED_JOBS, from_scratch=True, env={**ROOM, "HEADWAY_STREAM_STALL_TIMEOUT_S": "2"}
    )
    path = started(server, tmp_path, UPDATES, burst=100)
    with (
        RawStream(server, path, receive_buffer=4096) as stalled,
        contextlib.closing(Readers(server, path, WATCHERS - 1)) as readers,
    ):
        readers.read_until(lambda: all(readers.versions))
        assert open_streams(server) == WATCHERS
        before = resident_bytes(server)
        (tmp_path / "begin").touch()
        most = readers.read_until(lambda: open_streams(server) == WATCHERS - 1)
        (tmp_path / "end").touch()
        most = max(most, readers.read_until(lambda: readers.ended == WATCHERS - 1))
        with pytest.raises((AssertionError, ConnectionError)):
            list(stalled.frames())
        assert not stalled.ended
    assert most - before < 10 * MIB, f"{(most - before) / MIB:.1f} MiB"
    assert readers.versions[0][-1] > 20
    assert all(versions == readers.versions[0] for versions in readers.versions), "somebody was sent less"


@pytest.mark.slow
def test_nothing_is_queued_for_one_that_takes_nothing_and_it_is_sent_the_newest_when_it_reads_on(
    serving: Serving, tmp_path: Path
) -> None:
    server = serving(":memory:", "--jobs", WATCHED_JOBS, from_scratch=True, env={"HEADWAY_TICK_S": "0"})
    path = started(server, tmp_path, FRAMES, burst=1)
    with (
        RawStream(server, path, receive_buffer=4096) as stalled,
        contextlib.closing(Readers(server, path, 3)) as readers,
    ):
        readers.read_until(lambda: all(readers.versions))
        before = resident_bytes(server)
        (tmp_path / "begin").touch()
        most = readers.read_until(lambda: readers.versions[0][-1] > FRAMES)
        assert most - before < 10 * MIB, f"{(most - before) / MIB:.1f} MiB, and all of it would be 40"
        (tmp_path / "end").touch()
        states = [data_of(frame) for frame in stalled.frames() if is_state(frame)]
    versions = [state["version"] for state in states]
    assert versions == sorted(set(versions))
    assert len(versions) < FRAMES / 10
    assert states[-1]["status"] == "completed"
    assert stalled.ended


def drop(server: ServerProcess, path: str, number: int) -> None:
    """Connect, and leave: in one of several ways, at one of several moments."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S)
    with connection:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        connection.sendall(request[: -1 if number % 7 == 0 else None])  # sometimes not even the whole request
        if number % 7 and number % 3:
            received = b""
            while b": connected" not in received:
                received += connection.recv(65536)
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no farewell


def inside(server: ServerProcess) -> dict[str, int]:
    """What a job finds in the server while nobody watches it. The poll ends before it looks again."""
    job_id = server.submit("looks-inside")
    job = eventually(lambda: (found := server.job(job_id))["status"] == "completed" and found)
    result: dict[str, int] = job["result"]
    return result


@pytest.mark.slow
def test_a_thousand_that_come_and_go_leave_nothing_behind(serving: Serving) -> None:
    server = serving(":memory:", "--jobs", WATCHED_JOBS, from_scratch=True, env=ROOM)
    waiting = server.submit("noop", query=LATER)
    running = server.submit("storms", {"steps": 1_000_000, "step_s": 0.01})
    paths = [f"/jobs/{waiting}/progress", f"/jobs/{running}/progress", "/jobs/progress", "/jobs/progress?status=queued"]

    def cycles(count: int) -> None:
        for number in range(count):
            drop(server, paths[number % len(paths)], number)
        eventually(lambda: open_streams(server) == 0, "a stream outlived its client")

    cycles(CYCLES // 2)  # what is made once is made
    before = inside(server)
    resident = resident_bytes(server)
    cycles(CYCLES)
    eventually(lambda: inside(server) == before, f"{inside(server)} after {before}")
    more = resident_bytes(server) - resident
    assert more < 6 * MIB, f"{more / MIB:.1f} MiB"  # a thousand streams would be 14
