"""A transaction notes counts, history and deliveries, and writes them when it commits."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from headway.backends.sqlite.announcing import Announcer
from headway.backends.sqlite.opening.connection import open_writer
from headway.backends.sqlite.queue.joining import insert
from headway.backends.sqlite.rows import Kept
from headway.backends.sqlite.statements import SQL
from headway.backends.sqlite.transaction import Transaction
from headway.domain.deliveries import Webhook, WebhookEvent
from headway.domain.jobs import Job, NewJob, Status, Transition

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW = NewJob("one", "ada", "report", "{}", NOON, NOON, 60, webhook=Webhook("https://receiver.example/"))
RUNNING = Job.queued(NEW)._replace(status=Status.RUNNING, attempt=1, state_seq=2, last_seq=2)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writer(tmp_path / "headway.db")) as opened:
        yield opened


def begin(connection: sqlite3.Connection) -> Transaction:
    connection.execute("BEGIN IMMEDIATE")
    return Transaction(connection, Announcer(lambda event, job: f"{event} of {job.id}"))


def written(connection: sqlite3.Connection) -> tuple[list[object], ...]:
    """The counts, the history and the deliveries."""
    return tuple(
        connection.execute(sql).fetchall()
        for sql in (
            "SELECT owner, type, status, jobs FROM counts WHERE jobs > 0",
            "SELECT job_id, seq, kind, level, message FROM history",
            "SELECT job_id, event, body FROM deliveries",
        )
    )


def start(tx: Transaction) -> None:
    insert(tx, [NEW])
    kept = Kept("", NEW.kept_bytes, 0)
    assert tx.moved(Transition.CLAIM, RUNNING, kept) is Status.QUEUED


def test_a_commit_writes_what_was_noted_once(connection: sqlite3.Connection) -> None:
    tx = begin(connection)
    start(tx)
    assert written(connection) == ([], [], [])
    tx.commit()
    assert written(connection) == (
        [("ada", "report", "running", 1)],
        [("one", 2, "state", "running", "attempt 1")],
        [("one", "job.started", "job.started of one")],
    )
    assert not connection.in_transaction


def test_a_rollback_leaves_nothing(connection: sqlite3.Connection) -> None:
    tx = begin(connection)
    start(tx)
    tx.rollback()
    begin(connection).commit()
    assert written(connection) == ([], [], [])


def test_an_event_that_is_not_a_change_of_state_can_be_announced(connection: sqlite3.Connection) -> None:
    tx = begin(connection)
    tx.announce(WebhookEvent.PROGRESS, RUNNING)
    tx.commit()
    assert written(connection)[2] == [("one", "job.progress", "job.progress of one")]


def test_a_deleted_job_leaves_only_its_pending_deliveries(connection: sqlite3.Connection) -> None:
    tx = begin(connection)
    start(tx)
    tx.commit()
    connection.execute("UPDATE deliveries SET status = 'delivered', ended_at = 1")
    tx = begin(connection)
    tx.announce(WebhookEvent.COMPLETED, RUNNING)
    tx.delete(RUNNING)
    tx.commit()
    assert written(connection) == ([], [], [("one", "job.completed", "job.completed of one")])
    assert connection.execute(SQL["existing"], {"ids": '["one"]'}).fetchall() == []


def test_a_job_that_is_deleted_in_the_transaction_that_moved_it_leaves_no_history(
    connection: sqlite3.Connection,
) -> None:
    tx = begin(connection)
    start(tx)
    tx.delete(RUNNING)
    tx.commit()
    assert written(connection) == ([], [], [("one", "job.started", "job.started of one")])
