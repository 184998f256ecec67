"""Readers disconnect and reconnect at random moments while the server is killed and stopped, and miss nothing."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.process import ROOT, WAIT_TIMEOUT_S, Event, ServerProcess, parse_events

GATED_JOBS = ROOT / "tests" / "job_types" / "gated_jobs.py"
READERS = 200
JOBS = 5
LONGEST_CONNECTION_S = 2.0
LONGEST_PAUSE_S = 0.5


class Reader:
    """Follows one job's stream to its end, over as many connections as it takes, and checks each event."""

    def __init__(self, server: ServerProcess, job_id: str, chance: random.Random) -> None:
        self.job_id = job_id
        self.lines: list[tuple[int, str]] = []
        self.marks: list[tuple[int, int]] = []
        """The id of each state that had one, and how many log lines came before it."""
        self.attempt = 0
        self.connections = 0
        self.ended = False
        self._server = server
        self._chance = chance
        self._last_id: str | None = None
        self._version = -1

    async def follow(self) -> None:
        while not self.ended:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                await self._connect()
            await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE_S))

    async def status_of_another_try(self) -> int:
        """The status of the response to a reconnect after the end."""
        reader, writer = await self._ask()
        status = await _status(reader)
        writer.close()
        await writer.wait_closed()
        return status

    async def _connect(self) -> None:
        """Open one connection, and drop it at a random moment after its first event, also in the middle of one."""
        reader, writer = await self._ask()
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S) as time_limit:
                status = await _status(reader)
                if status == 503:
                    return
                assert status == 200
                dropping = False
                async for event in _events(reader):
                    self._take(event)
                    if not dropping:
                        in_s = self._chance.uniform(0, LONGEST_CONNECTION_S)
                        time_limit.reschedule(asyncio.get_running_loop().time() + in_s)
                        dropping = True
        finally:
            writer.transport.abort()

    async def _ask(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        self.connections += 1
        cursor = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
        writer.write(f"GET /jobs/{self.job_id}/progress HTTP/1.1\r\nHost: localhost\r\n{cursor}\r\n".encode())
        return reader, writer

    def _take(self, event: Event) -> None:
        assert not self.ended, "something follows the end"
        assert event.name in (None, "log"), event  # no `reset`: every id is still known
        self._last_id = event.id or self._last_id
        if event.name == "log":
            seq = event.data["seq"]
            assert event.id == str(seq)
            assert not self.lines or seq > self.lines[-1][0], "a line came twice, or too late"
            self.lines.append((seq, event.data["message"]))
            return
        assert event.data["version"] >= self._version
        self._version, self.attempt = event.data["version"], event.data["attempt"]
        if event.id is not None:
            self.marks.append((int(event.id), len(self.lines)))
        self.ended = event.data["status"] == "completed"
        assert event.id is not None or not self.ended


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    """Yield the complete events; one that is cut off is dropped."""
    text = b""
    while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
        text += (await reader.readexactly(size + 2))[:-2]
        *frames, text = text.split(b"\n\n")
        for frame in frames:
            for event in parse_events([*frame.splitlines(), b""]):
                yield event


@pytest.mark.slow
async def test_200_readers_that_reconnect_over_restarts_get_the_whole_history(tmp_path: Path) -> None:
    seed = int(os.environ.get("HEADWAY_TEST_SEED") or random.randrange(2**32))
    print(f"HEADWAY_TEST_SEED={seed}")  # noqa: T201 - shown when it fails
    gate = tmp_path / "gate"
    with ServerProcess(tmp_path / "data", "--jobs", str(GATED_JOBS), "--max-tasks", str(JOBS)) as server:
        jobs = [server.submit("gated-talker", {"gate": str(gate)}) for _ in range(JOBS)]
        readers = [Reader(server, jobs[number % JOBS], random.Random(f"{seed}-{number}")) for number in range(READERS)]
        async with asyncio.TaskGroup() as following:
            for reader in readers:
                following.create_task(reader.follow())
            await _restart_at_random_moments(server, readers, random.Random(seed))
            gate.touch()
        assert {await reader.status_of_another_try() for reader in readers} == {204}
        for job_id in jobs:
            _assert_whole(_recorded(server, job_id), [reader for reader in readers if reader.job_id == job_id])


async def _restart_at_random_moments(server: ServerProcess, readers: list[Reader], chance: random.Random) -> None:
    """Kill, stop and kill the server, each time when all readers have seen the attempt and reconnected about twice."""
    for attempt, leave in enumerate((server.kill, server.stop, server.kill), 1):
        await _until_all_have_come(readers, attempt)
        await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.to_thread(leave)
        await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.to_thread(server.restart)
    await _until_all_have_come(readers, 4)


async def _until_all_have_come(readers: list[Reader], attempt: int) -> None:
    async with asyncio.timeout(3 * WAIT_TIMEOUT_S):
        while not _all_have_come(readers, attempt):  # noqa: ASYNC110 - of two hundred readers, no one event
            await asyncio.sleep(0.02)


def _all_have_come(readers: list[Reader], attempt: int) -> bool:
    connections = sum(reader.connections for reader in readers)
    return connections >= 2 * READERS * attempt and all(reader.attempt >= attempt for reader in readers)


def _assert_whole(recorded: list[tuple[int, str]], readers: list[Reader]) -> None:
    """Check that each reader has every line in order, and got each state after everything its id covers."""
    seqs = [seq for seq, _ in recorded]
    assert len(seqs) > 50
    for reader in readers:
        assert reader.lines == recorded
        assert all(before == sum(seq <= id for seq in seqs) for id, before in reader.marks)


def _recorded(server: ServerProcess, job_id: str) -> list[tuple[int, str]]:
    """The job's whole log, from the record."""
    found: list[tuple[int, str]] = []
    after: int | None = 0
    while after is not None:
        page = server.request("GET", f"/jobs/{job_id}/logs?limit=1000&after={after}").json
        found += [(line["seq"], line["message"]) for line in page["lines"]]
        after = page["nextAfter"]
    return found
