"""The group-commit writer on a real file: operations share transactions, and one that fails affects no other."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from headway.backends.sqlite import writer as writer_module
from headway.backends.sqlite.announcing import Announcer
from headway.backends.sqlite.opening.connection import open_writer
from headway.backends.sqlite.pending import Batched, Rows
from headway.backends.sqlite.transaction import Transaction
from headway.backends.sqlite.writer import ENOUGH, MAX_BATCH, Writer
from headway.errors import StoreUnavailableError

from tests.conformance.records import OWNER, new_job

ANNOUNCER = Announcer(lambda _event, _job: "{}")


class Traced:
    """A writer whose statements are traced, and whose thread can be held up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA busy_timeout = 0")
        self.connection.execute("CREATE TABLE kept (n INTEGER PRIMARY KEY) STRICT")
        self.statements: list[str] = []
        self.connection.set_trace_callback(self.statements.append)
        self.writer = Writer(self.connection, ANNOUNCER)
        self.may_go_on = threading.Event()

    def count(self, statement: str) -> int:
        return self.statements.count(statement)

    def kept(self) -> list[int]:
        other = sqlite3.connect(self.path)
        try:
            return [row[0] for row in other.execute("SELECT n FROM kept ORDER BY n")]
        finally:
            other.close()

    async def hold(self) -> "asyncio.Task[bool]":
        """Keep the writer's thread busy until `may_go_on`, so that operations have to wait."""
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def operation(_: Transaction) -> bool:
            loop.call_soon_threadsafe(began.set)
            return self.may_go_on.wait(10)

        holding = asyncio.create_task(self.writer.write(operation, bool))
        await began.wait()
        return holding


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    made = Traced(tmp_path / "a.db")
    yield made
    made.may_go_on.set()
    await made.writer.close()


def insert(n: object) -> Callable[[Transaction], object]:
    return lambda tx: tx.execute("INSERT INTO kept VALUES (?)", (n,)).rowcount and n


def same(result: object) -> object:
    return result


async def test_waiting_operations_share_one_transaction(traced: Traced) -> None:
    holding = await traced.hold()
    writes = [asyncio.create_task(traced.writer.write(insert(n), same)) for n in range(100)]
    await asyncio.sleep(0)
    before = traced.count("COMMIT")
    traced.may_go_on.set()
    assert await asyncio.gather(*writes) == list(range(100))
    await holding
    assert traced.count("COMMIT") - before == 2  # the operation that was held up, and the hundred
    assert traced.kept() == list(range(100))


def insert_many(tx: Transaction, numbers: Sequence[object]) -> None:
    tx.execute(f"INSERT INTO kept VALUES {', '.join('(?)' for _ in numbers)}", list(numbers))  # noqa: S608


class Numbers(Rows[object, object]):
    """Rows of numbers; notes in which steps they came and went."""

    def __init__(self, note: Callable[[str], object] = str) -> None:
        self._note = note

    def write(self, tx: Transaction, rows: Sequence[object]) -> None:
        insert_many(tx, rows)

    def committed(self, rows: Sequence[object]) -> Sequence[object]:
        self._note(f"rows committed: {len(rows)}")
        return rows

    def failed(self, rows: Sequence[object]) -> None:
        self._note(f"rows failed: {len(rows)}")


async def test_rows_are_inserted_together_and_before_operations_that_may_depend_on_them(traced: Traced) -> None:
    holding = await traced.hold()
    followed: list[object] = []

    def follow(tx: Transaction) -> None:
        followed.extend(tx.execute("SELECT count(*) FROM kept").fetchone())

    following = asyncio.create_task(traced.writer.write(follow, same))
    numbers = Numbers(followed.append)
    writes = [asyncio.create_task(traced.writer.write_row(numbers, n)) for n in range(10)]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    await asyncio.gather(holding, following)
    assert await asyncio.gather(*writes) == list(range(10))
    assert followed == [10, "rows committed: 10"]
    assert sum(statement.startswith("INSERT") for statement in traced.statements) == 1


async def test_an_invalid_row_does_not_affect_the_others(traced: Traced) -> None:
    holding = await traced.hold()
    values: list[object] = [1, 2, "text", 2, 3]
    steps: list[str] = []
    numbers = Numbers(steps.append)
    writes = [asyncio.create_task(traced.writer.write_row(numbers, value)) for value in values]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    await holding
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [answers[0], answers[1], answers[4]] == [1, 2, 3]
    assert [type(answers[index]) for index in (2, 3)] == [sqlite3.IntegrityError] * 2
    assert steps == ["rows failed: 1", "rows failed: 1", "rows committed: 3"]
    assert traced.kept() == [1, 2, 3]


def insert_each(tx: Transaction, numbers: Sequence[object]) -> list[str]:
    insert_many(tx, numbers)
    return [f"{number} of {len(numbers)}" for number in numbers]


async def test_operations_that_can_be_batched_keep_their_place_among_the_others(traced: Traced) -> None:
    holding = await traced.hold()

    def count(tx: Transaction) -> str:
        return str(tx.execute("SELECT count(*) FROM kept").fetchone()[0])

    batched = [Batched(insert_each, n) for n in range(4)]
    operations: list[Callable[[Transaction], str]] = [*batched[:3], count, batched[3], count]
    writes = [asyncio.create_task(traced.writer.write(operation, same)) for operation in operations]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    await holding
    assert await asyncio.gather(*writes) == ["0 of 3", "1 of 3", "2 of 3", "3", "3 of 1", "4"]


async def test_an_operation_that_fails_does_not_affect_those_it_was_batched_with(traced: Traced) -> None:
    holding = await traced.hold()
    values: list[object] = [1, "text", 2]
    writes = [asyncio.create_task(traced.writer.write(Batched(insert_each, value), same)) for value in values]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    await holding
    first, failed, last = await asyncio.gather(*writes, return_exceptions=True)
    assert (first, type(failed), last) == ("1 of 1", sqlite3.IntegrityError, "2 of 1")
    assert traced.kept() == [1, 2]


async def test_a_batch_includes_what_the_loop_has_begun(traced: Traced) -> None:
    """The first write wakes the writer. Those of the same turns of the loop share its sync."""

    async def later(n: int) -> object:
        await asyncio.sleep(0)
        return await traced.writer.write(insert(n), same)

    before = traced.count("COMMIT")
    await asyncio.gather(traced.writer.write(insert(0), same), *(later(n) for n in range(1, 50)))
    assert traced.count("COMMIT") - before == 1


async def test_a_large_batch_does_not_wait_for_what_the_loop_begins_next(traced: Traced) -> None:
    """It is synced while the others are received; with them it would be one batch, and nothing to do meanwhile."""

    async def later(n: int) -> object:
        for _ in range(n // ENOUGH):
            await asyncio.sleep(0)
        return await traced.writer.write(insert(n), same)

    before = traced.count("COMMIT")
    await asyncio.gather(*map(later, range(3 * ENOUGH)))
    assert traced.count("COMMIT") - before > 1


async def test_counts_are_committed_with_the_transaction_that_changes_them(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "headway.db")
    writer = Writer(connection, ANNOUNCER)

    def come(tx: Transaction, *, jobs: int, fail: bool = False) -> None:
        for _ in range(jobs):
            tx.inserted([new_job()], 2)
        if fail:
            raise ZeroDivisionError

    await asyncio.gather(*(writer.write(partial(come, jobs=n), same) for n in range(1, 5)))
    with pytest.raises(ZeroDivisionError):
        await writer.write(partial(come, jobs=100, fail=True), same)
    await writer.write(partial(come, jobs=1), same)
    with closing(sqlite3.connect(tmp_path / "headway.db")) as reader:
        counts = reader.execute("SELECT * FROM counts").fetchall()
    await writer.close()
    assert counts == [(OWNER, "", new_job().type, "queued", 11, 22)]


async def test_a_batch_is_bounded(traced: Traced) -> None:
    holding = await traced.hold()
    writes = [asyncio.create_task(traced.writer.write(insert(n), same)) for n in range(MAX_BATCH + 1)]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    await asyncio.gather(holding, *writes)
    assert traced.count("COMMIT") == 3


async def test_a_failing_batch_is_replayed_one_by_one(traced: Traced) -> None:
    holding = await traced.hold()
    values: list[object] = [1, 2, "text", 3, 2, 4]  # a wrong type, and a duplicate
    writes = [asyncio.create_task(traced.writer.write(insert(n), same)) for n in values]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    await holding
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [answers[index] for index in (0, 1, 3, 5)] == [1, 2, 3, 4]
    assert [type(answers[index]) for index in (2, 4)] == [sqlite3.IntegrityError] * 2
    assert traced.kept() == [1, 2, 3, 4]
    assert not traced.connection.in_transaction


async def test_an_operation_that_fails_half_way_is_rolled_back(traced: Traced) -> None:
    def half(tx: Transaction) -> None:
        tx.execute("INSERT INTO kept VALUES (7)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await traced.writer.write(half, same)
    assert traced.kept() == []
    assert await traced.writer.write(insert(8), same) == 8


async def test_committed_callbacks_run_in_commit_order_before_any_caller_continues(traced: Traced) -> None:
    order: list[str] = []

    async def one(n: int) -> None:
        await traced.writer.write(insert(n), lambda _: order.append(f"committed {n}"))
        order.append(f"answered {n}")

    await asyncio.gather(*(one(n) for n in range(3)))
    assert order == [f"committed {n}" for n in range(3)] + [f"answered {n}" for n in range(3)]


async def test_committed_callbacks_of_rows_run_first_like_their_writes(traced: Traced) -> None:
    order: list[str] = []
    await asyncio.gather(
        traced.writer.write(insert(1), lambda _: order.append("follows")),
        traced.writer.write_row(Numbers(order.append), 2),
    )
    assert order == ["rows committed: 1", "follows"]


async def test_a_write_returns_what_its_committed_callback_returns(traced: Traced) -> None:
    assert await traced.writer.write(insert(3), lambda n: f"{n}!") == "3!"


async def test_a_cancelled_caller_loses_only_its_result(traced: Traced) -> None:
    holding = await traced.hold()
    committed: list[object] = []
    writes = [asyncio.create_task(traced.writer.write(insert(n), committed.append)) for n in range(10)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    traced.may_go_on.set()
    await holding
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 5
    assert committed == list(range(10))
    assert traced.kept() == list(range(10))
    assert not traced.connection.in_transaction


async def test_exactly_one_of_committed_and_failed_is_called(traced: Traced) -> None:
    calls: list[str] = []

    async def write(n: object, name: str) -> None:
        await traced.writer.write(
            insert(n), lambda _: calls.append(f"{name} committed"), lambda: calls.append(f"{name} failed")
        )

    await write(1, "good")
    with pytest.raises(sqlite3.IntegrityError):
        await write(1, "bad")
    cancelled = asyncio.create_task(write(1, "cancelled"))
    await asyncio.sleep(0)
    cancelled.cancel()
    traced.writer.post(insert(2), lambda _: calls.append("posted committed"), lambda: calls.append("posted failed"))
    traced.writer.post(insert(2), lambda _: calls.append("again committed"), lambda: calls.append("again failed"))
    await traced.writer.write(insert(9), same)
    assert calls == ["good committed", "bad failed", "cancelled failed", "posted committed", "again failed"]


async def test_an_error_in_a_committed_callback_affects_only_its_caller(traced: Traced) -> None:
    def mistake(_: object) -> None:
        raise KeyError("a bug")

    first, second = (
        asyncio.gather(traced.writer.write(insert(1), mistake), return_exceptions=True),
        traced.writer.write(insert(2), same),
    )
    assert await second == 2
    assert [type(answer) for answer in await first] == [KeyError]
    assert traced.kept() == [1, 2]


async def test_an_error_after_rows_were_committed_is_the_answer_to_their_callers_alone(traced: Traced) -> None:
    def mistake(_: object) -> None:
        raise KeyError("a bug")

    *rows, other = await asyncio.gather(
        *(traced.writer.write_row(numbers, n) for numbers in [Numbers(mistake)] for n in (1, 2)),
        traced.writer.write(insert(3), same),
        return_exceptions=True,
    )
    assert [type(answer) for answer in rows] == [KeyError] * 2
    assert other == 3
    assert traced.kept() == [1, 2, 3]


async def test_a_locked_file_fails_the_whole_batch_at_the_first_try(traced: Traced) -> None:
    """Trying each operation would wait for the lock hundreds of times, two seconds each."""
    other = sqlite3.connect(traced.path, isolation_level=None)
    try:
        holding = await traced.hold()
        writes = [asyncio.create_task(traced.writer.write(insert(n), same)) for n in range(50)]
        await asyncio.sleep(0)
        traced.may_go_on.set()
        traced.statements.clear()
        loop = asyncio.get_running_loop()
        locked = loop.create_future()
        holding.add_done_callback(lambda _: locked.set_result(None))
        await locked
        answers = await asyncio.gather(*writes)
        assert answers == list(range(50))
        other.execute("BEGIN IMMEDIATE")
        begun = traced.count("BEGIN IMMEDIATE")
        refused = await asyncio.gather(
            *(traced.writer.write(insert(n), same) for n in range(100, 150)), return_exceptions=True
        )
        assert [type(error) for error in refused] == [StoreUnavailableError] * 50
        assert all("locked" in str(error) for error in refused)
        assert traced.count("BEGIN IMMEDIATE") - begun <= 1
        other.execute("ROLLBACK")
        assert await traced.writer.write(insert(200), same) == 200
        assert traced.kept() == [*range(50), 200]
    finally:
        other.close()


async def test_the_backlog_of_operations_is_bounded(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING", 3)
    holding = await traced.hold()
    writes = [asyncio.create_task(traced.writer.write(insert(n), same)) for n in range(5)]
    await asyncio.sleep(0)
    traced.may_go_on.set()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    await holding
    assert answers[:3] == [0, 1, 2]
    assert [type(error) for error in answers[3:]] == [StoreUnavailableError] * 2


async def test_closing_carries_out_the_backlog_and_refuses_new_operations(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "b.db")
    holding = await traced.hold()
    writes = [asyncio.create_task(traced.writer.write(insert(n), same)) for n in range(5)]
    traced.writer.post(insert(5), lambda _: None, lambda: None)
    await asyncio.sleep(0)
    closing = asyncio.create_task(traced.writer.close())
    await asyncio.sleep(0)
    failed: list[bool] = []
    with pytest.raises(StoreUnavailableError, match="closed"):
        await traced.writer.write(insert(9), same, lambda: failed.append(True))
    assert failed == [True]
    traced.may_go_on.set()
    await closing
    assert await asyncio.gather(*writes) == list(range(5))
    assert await holding
    assert traced.kept() == list(range(6))
