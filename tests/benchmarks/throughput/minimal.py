"""The least that a durable server in this stack does for a job, to tell Headway's own cost from the stack's.

`python -m tests.benchmarks.throughput.minimal DATABASE` takes the same response as `bare` on standard input and prints
its port. A POST is validated by one pydantic model and inserted as one row. Whatever waits when the last commit returns
goes into the next transaction, in a thread, with WAL and `synchronous=FULL` as in Headway. Then the response is sent,
with the row's id in place of the sample's. There is no authentication, no limit, no idempotency and no state in memory.

With `run` after the database, each job then runs: a task that does nothing and records its end in the row, in a commit
that it shares with others. There is no claim, no progress, no history, no retry, and nobody can watch.
"""

import asyncio
import json
import sqlite3
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

Row = tuple[bytes, str, float]
End = tuple[float, bytes]

SCHEMA = """
CREATE TABLE jobs (id BLOB PRIMARY KEY, input TEXT NOT NULL, created_at REAL NOT NULL, ended_at REAL) WITHOUT ROWID
"""


class Input(BaseModel):
    """The input of the job type that the benchmark submits."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = 0.0


class Record:
    """Inserts and updates rows in as few commits as the load allows."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(SCHEMA)
        self._thread = ThreadPoolExecutor(1)
        self._inserts: list[tuple[Row, asyncio.Future[None]]] = []
        self._ends: list[tuple[End, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()

    async def insert(self, row: Row) -> None:
        """Durable on return."""
        future = asyncio.get_running_loop().create_future()
        self._inserts.append((row, future))
        self._wake.set()
        await future

    async def end(self, row_id: bytes) -> None:
        """Record the end of a job: durable on return."""
        future = asyncio.get_running_loop().create_future()
        self._ends.append(((time.time(), row_id), future))
        self._wake.set()
        await future

    async def run(self) -> None:
        """Commit what is waiting, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            inserts, self._inserts = self._inserts, []
            ends, self._ends = self._ends, []
            rows, ended = [row for row, _ in inserts], [end for end, _ in ends]
            await loop.run_in_executor(self._thread, self._commit, rows, ended)
            for _, future in (*inserts, *ends):
                if not future.done():
                    future.set_result(None)

    def _commit(self, rows: list[Row], ends: list[End]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO jobs (id, input, created_at) VALUES (?, ?, ?)", rows)
        self._connection.executemany("UPDATE jobs SET ended_at = ? WHERE id = ?", ends)
        self._connection.execute("COMMIT")


class Jobs:
    """Runs jobs that do nothing."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._running: set[asyncio.Task[None]] = set()

    def start(self, row_id: bytes) -> None:
        task = asyncio.create_task(self._run(row_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, row_id: bytes) -> None:
        await noop()
        await self._record.end(row_id)


async def noop() -> None:
    """The handler."""


def time_ordered_id() -> uuid.UUID:
    """Random ids would cost half of the inserts' rate."""
    return uuid.UUID(int=time.time_ns() << 64 | uuid.uuid4().int & (1 << 64) - 1)


async def serve(answer: dict[str, Any], path: str, *, running: bool) -> None:
    status, body = answer["status"], answer["body"]
    sample = json.loads(body)["jobId"]
    record = Record(path)
    jobs = Jobs(record)

    async def post(request: web.Request) -> web.Response:
        valid = Input.model_validate_json(await request.read())
        row_id = time_ordered_id()
        await record.insert((row_id.bytes, valid.model_dump_json(), time.time()))
        if running:
            jobs.start(row_id.bytes)
        headers = {name: value.replace(sample, str(row_id)) for name, value in answer["headers"].items()}
        return web.Response(body=body.replace(sample, str(row_id)).encode(), status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/jobs/{type}", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await record.run()


def main() -> None:
    answer = json.load(sys.stdin)
    import uvloop  # noqa: PLC0415 - the same loop as the server's

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(answer, sys.argv[1], running="run" in sys.argv[2:]))


if __name__ == "__main__":
    main()
