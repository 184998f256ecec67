"""Group commit: whatever waits when the last commit returns goes into the next transaction.

One thread owns the one connection that writes. A transaction is one function in that thread, so a cancelled
task can never leave it open. A batch is one hop: handing an operation over costs far more than running it.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from ..errors import StoreUnavailableError

log = structlog.get_logger(__name__)
T = TypeVar("T")

Operation = Callable[[sqlite3.Connection], T]
"""SQL for one change, run inside a transaction that may hold others; it must not commit."""

MAX_BATCH = 512
MAX_WAITING = 20_000


@dataclass(slots=True)
class _Pending:
    operation: Operation[Any]
    committed: Callable[[Any], None] | None
    future: "asyncio.Future[Any]"


class Writer:
    """Carries out operations in order, in as few transactions as the load allows."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="headway-writer")
        self._waiting: list[_Pending] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="headway-writer")

    async def write(self, operation: Operation[T], committed: Callable[[T], None] | None = None) -> T:
        """Run `operation` in a transaction; its result once that is durable.

        `committed` is called in the loop with the result, after the commit, in commit order and before any
        awaiter goes on: this is where memory follows the disk. A cancelled caller does not stop the operation.
        Raises `StoreUnavailableError` if the file could not be written, or what `operation` raises; then
        nothing of it is on disk.
        """
        if self._closing:
            raise StoreUnavailableError("the store is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise StoreUnavailableError("the store is too far behind")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Pending(operation, committed, future))
        self._wake.set()
        return await future

    def post(self, operation: Operation[T], committed: Callable[[T], None], failed: Callable[[], None]) -> None:
        """Like `write`, without waiting for it: exactly one of `committed` and `failed` is called."""

        def settled(future: "asyncio.Future[T]") -> None:
            if future.exception() is not None:
                failed()

        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.add_done_callback(settled)
        self._waiting.append(_Pending(operation, committed, future))
        self._wake.set()

    async def close(self) -> None:
        """Carry out what waits, then close the connection."""
        self._closing = True
        self._wake.set()
        await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                results = await loop.run_in_executor(self._thread, self._commit, batch)
                for pending, result in zip(batch, results, strict=True):
                    _settle(pending, result)
            if self._closing:
                return

    def _commit(self, batch: list[_Pending]) -> list[Any]:
        """Results or exceptions, one for each operation. If the batch fails, each has a try of its own."""
        try:
            return self._transact(batch)
        except Exception as error:  # noqa: BLE001 - each operation's error goes to its own caller
            if len(batch) == 1:
                return [_translated(error)]
        return [self._commit([pending])[0] for pending in batch]

    def _transact(self, batch: list[_Pending]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [pending.operation(self._connection) for pending in batch]
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite rolls back by itself on some errors
                self._connection.execute("ROLLBACK")
            raise
        return results


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError
    ):
        unavailable = StoreUnavailableError(f"the store cannot write: {error}")
        unavailable.__cause__ = error
        return unavailable
    return error


def _settle(pending: _Pending, result: Any) -> None:
    if isinstance(result, Exception):
        if not pending.future.done():
            pending.future.set_exception(result)
        return
    if pending.committed is not None:
        try:
            pending.committed(result)
        except Exception:
            # On disk it is; a mistake in what follows must not end the loop that all writes go through.
            log.exception("what follows a commit failed")
    if not pending.future.done():
        pending.future.set_result(result)
