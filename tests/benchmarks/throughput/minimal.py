"""The least that a durable server in this stack does for a submission, to tell Headway's own cost from the stack's.

`python -m tests.benchmarks.throughput.minimal DATABASE` takes the same response as `bare` on standard input and prints
its port. A POST is validated by one pydantic model and inserted as one row. Whatever waits when the last commit returns
goes into the next transaction, in a thread, with WAL and `synchronous=FULL` as in Headway. Then the response is sent,
with the row's id in place of the sample's. There is no authentication, no limit, no idempotency and no state in memory.
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

SCHEMA = "CREATE TABLE jobs (id BLOB PRIMARY KEY, input TEXT NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID"


class Input(BaseModel):
    """The input of the job type that the benchmark submits."""

    model_config = ConfigDict(extra="forbid")

    seconds: float


class Inserts:
    """Inserts rows in as few commits as the load allows."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(SCHEMA)
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()

    async def insert(self, row: Row) -> None:
        """Durable on return."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((row, future))
        self._wake.set()
        await future

    async def run(self) -> None:
        """Commit what is waiting, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            await loop.run_in_executor(self._thread, self._commit, [row for row, _ in batch])
            for _, future in batch:
                if not future.done():
                    future.set_result(None)

    def _commit(self, rows: list[Row]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO jobs VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")


def time_ordered_id() -> uuid.UUID:
    """Random ids would cost half of the inserts' rate."""
    return uuid.UUID(int=time.time_ns() << 64 | uuid.uuid4().int & (1 << 64) - 1)


async def serve(answer: dict[str, Any], path: str) -> None:
    status, body = answer["status"], answer["body"]
    sample = json.loads(body)["jobId"]
    inserts = Inserts(path)

    async def post(request: web.Request) -> web.Response:
        valid = Input.model_validate_json(await request.read())
        row_id = time_ordered_id()
        await inserts.insert((row_id.bytes, valid.model_dump_json(), time.time()))
        headers = {name: value.replace(sample, str(row_id)) for name, value in answer["headers"].items()}
        return web.Response(body=body.replace(sample, str(row_id)).encode(), status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/jobs/{type}", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await inserts.run()


def main() -> None:
    answer = json.load(sys.stdin)
    import uvloop  # noqa: PLC0415 - the same loop as the server's

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(answer, sys.argv[1]))


if __name__ == "__main__":
    main()
