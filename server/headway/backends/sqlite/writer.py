"""Group commit: whatever waits when the last commit returns goes into the next transaction.

One thread owns the one connection that writes. A transaction is one function in that thread, so a cancelled task can
never leave it open. A batch is handed to the thread as a whole, which costs far more than one of its operations.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, TypeVar

from ...errors import StoreUnavailableError
from ...metrics import CommitMetrics
from ..memory.quotas import Change, CountKey
from ..memory.running_limits import RunningLimits
from ..memory.turns import Turns
from .announcing import Announcer
from .pending import Batch, Batched, Operation, Pending, PendingRow, Rows, by_kind
from .queue.parking import settle
from .transaction import Transaction

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH = 512
MAX_WAITING = 20_000
QUIET_TURNS = 3
"""After this many turns of the loop without a new operation, a batch is complete."""
ENOUGH = 32
"""A batch of this size is written at once: what is still on its way is received while it is synced."""


class Writer:
    """Carries out operations in order, in as few transactions as the load allows."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        announcer: Announcer,
        commits: CommitMetrics | None = None,
        counted: Callable[[Mapping[CountKey, Change]], None] | None = None,
        turns: Turns | None = None,
        audited: Callable[[], None] | None = None,
        limits: RunningLimits | None = None,
        opened: Callable[[], None] | None = None,
    ) -> None:
        """`counted` is told in the loop what a transaction has changed of the counts, before anybody else goes on.

        `audited` is called in the loop after each commit that added entries to the audit trail, `opened` after each
        that opened jobs which had been parked.
        """
        self._connection = connection
        self._announcer = announcer
        self._commits = commits or CommitMetrics()
        self._counted = counted
        self._turns = turns or Turns()
        self._limits = limits or RunningLimits()
        self._opened = opened
        self._changes: list[Mapping[CountKey, Change]] = []
        self._audited = audited
        self._has_audited = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="headway-writer")
        self._waiting = Batch()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = self._loop.create_task(self._run(), name="headway-writer")

    async def write(
        self, operation: Operation[T], committed: Callable[[T], R], failed: Callable[[], None] | None = None
    ) -> R:
        """Carry out `operation` in a transaction. Once that is durable, returns what `committed` makes of its result.

        Exactly one of `committed` and `failed` is called, even if the caller has been cancelled meanwhile.
        `committed` is called in the loop, in commit order and before any awaiter continues: it brings memory up to
        date. Raises `StoreUnavailableError` if the file could not be written, or what `operation` raises; then
        nothing of it is on disk.
        """
        if self._closing or len(self._waiting) >= MAX_WAITING:
            if failed is not None:
                failed()
            raise self._refusal()
        future: asyncio.Future[R] = self._loop.create_future()
        self._enqueue(Pending(operation, committed, failed, future))
        return await future

    def post(self, operation: Operation[T], committed: Callable[[T], None], failed: Callable[[], None]) -> None:
        """Like `write`, but does not wait."""
        self._enqueue(Pending(operation, committed, failed, None))

    async def write_row(self, kind: Rows[T, R], row: T) -> R:
        """Write a row together with others of its kind. Once it is durable, returns the answer of `kind.committed`.

        As for `write`, exactly one of `committed` and `failed` is called, and the same is raised.
        """
        if self._closing or len(self._waiting) >= MAX_WAITING:
            kind.failed([row])
            raise self._refusal()
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiting.rows.append(PendingRow(kind, row, future))
        self._wake.set()
        return await future

    def _refusal(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"the store is {'closed' if self._closing else 'too far behind'}")

    def _enqueue(self, pending: Pending) -> None:
        self._waiting.operations.append(pending)
        self._wake.set()

    async def close(self) -> None:
        """Carry out what is waiting, then close the connection."""
        self._closing = True
        self._wake.set()
        await self._task
        await self._loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._gather()
                batch = self._waiting.take(MAX_BATCH)
                started_s = time.perf_counter()
                results = await self._loop.run_in_executor(self._thread, self._commit, batch)
                self._commits.seconds.observe(time.perf_counter() - started_s)
                self._commits.operations.observe(len(batch))
                self._count()
                batch.settle(results)
                if self._has_audited:
                    self._has_audited = False
                    if self._audited is not None:
                        self._audited()
                if self._limits.opened:
                    self._limits.opened = False
                    if self._opened is not None:
                        self._opened()
            if self._closing:
                return

    def _count(self) -> None:
        """Say what was counted by the transactions that the thread has committed."""
        changes, self._changes = self._changes, []
        if self._counted is not None:
            for changed in changes:
                self._counted(changed)

    async def _gather(self) -> None:
        """Let the loop finish what it has begun, so that it can join the batch: a commit costs as much as a dozen
        operations. A lone write waits for three turns of an idle loop, some ten microseconds; a sync takes far longer.
        """
        quiet_turns = 0
        while quiet_turns < QUIET_TURNS and len(self._waiting) < ENOUGH:
            waiting = len(self._waiting)
            await asyncio.sleep(0)
            quiet_turns = quiet_turns + 1 if len(self._waiting) == waiting else 0

    def _commit(self, batch: Batch) -> list[Any]:
        """A result or an exception for each. If the batch fails, each is carried out by itself."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            # Locked, for example. No operation is to blame, and each would wait for the lock again.
            return [_translated(error) for _ in range(len(batch))]
        try:
            return self._transact(batch)
        except Exception as error:  # noqa: BLE001 - each operation's error goes to its own caller
            if len(batch) == 1:
                return [_translated(error)]
        return [self._commit(one)[0] for one in batch.one_by_one()]

    def _transact(self, batch: Batch) -> list[Any]:
        """Carry out the batch in the transaction that has begun. On an error it is rolled back."""
        tx = Transaction(self._connection, self._announcer, self._turns, self._limits)
        try:
            _write_rows(tx, batch.rows)
            results = [None] * len(batch.rows) + _carry_out(tx, [pending.operation for pending in batch.operations])
            if tx.limits.unsettled:
                settle(tx)
            tx.commit()
            self._has_audited |= bool(tx.audited)
        except BaseException:
            tx.rollback()
            raise
        if tx.changes:
            self._changes.append(tx.changes)
        return results


def _carry_out(tx: Transaction, operations: list[Operation[Any]]) -> list[Any]:
    """The results of the operations."""
    results: list[Any] = []
    for perform, group in groupby(operations, key=_perform):
        if perform is None:
            results += [operation(tx) for operation in group]
        else:
            results += perform(tx, [operation.item for operation in group if isinstance(operation, Batched)])
    return results


def _perform(operation: Operation[Any]) -> Callable[[Transaction, Sequence[Any]], Sequence[Any]] | None:
    """What carries it out together with others, if anything does."""
    return operation.perform if isinstance(operation, Batched) else None


def _write_rows(tx: Transaction, rows: Iterable[PendingRow]) -> None:
    for kind, some in by_kind(rows).items():
        kind.write(tx, [pending.row for pending in some])


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError
    ):
        unavailable = StoreUnavailableError(f"the store cannot write: {error}")
        unavailable.__cause__ = error
        return unavailable
    return error
