"""The open file: one writer and a few readers, shared by the store, the outbox, the keys and the record keeper."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import aiosqlite

from ...errors import StoreUnavailableError
from ...metrics import CommitMetrics
from ..memory.quotas import Change, CountKey
from ..memory.running_limits import RunningLimits
from ..memory.turns import Turns
from ..mending import report
from .announcing import Announcer, BodyOf
from .listing.words import BEGINS_WORD, begins_word
from .opening.connection import READER_PRAGMAS, ReadText, open_writer, uri
from .opening.repairing import repair
from .queue.pools import follow_pools
from .rows import Parameters, Row
from .statements import SQL
from .writer import Writer

READER_COUNT = 2


class Database:
    """One SQLite file, which this process owns. Open it with `Database.open`."""

    def __init__(self, path: Path, writer: Writer, readers: "Readers") -> None:
        self.path = path
        self.write, self.write_row, self.post = writer.write, writer.write_row, writer.post  # no call in between
        self._writer = writer
        self._readers = readers

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        body_of: BodyOf,
        commits: CommitMetrics | None = None,
        counted: Callable[[Mapping[CountKey, Change]], None] | None = None,
        turns: Turns | None = None,
        audited: Callable[[], None] | None = None,
        limits: RunningLimits | None = None,
        opened: Callable[[], None] | None = None,
    ) -> Self:
        """Open or create the file. `body_of` makes the bodies of webhooks, in the writer's thread.

        `counted` is told after each commit what it has changed of the counts; `audited` is called after each that added
        entries to the audit trail, and `opened` after each that opened parked jobs. `turns` is filled from the file.
        Raises `SetupError`, or `sqlite3.Error` if the file cannot be read.
        """
        writer = Writer(open_writer(path), Announcer(body_of), commits, counted, turns, audited, limits, opened)
        database = cls(path, writer, Readers())
        try:
            await database.write(repair, lambda _: None)
            await database._readers.open(path, READER_COUNT)
            if turns is not None:
                await database.write(follow_pools, lambda _: None)
                not_due = await database.one(SQL["first_not_due"], {})
                turns.load(await database.all(SQL["turns"], {}), None if not_due is None else not_due[0])
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Carry out what is waiting and close the file. The readers go first, so that the writer checkpoints alone."""
        await self._readers.close()
        await self._writer.close()

    async def all(self, sql: str, parameters: Parameters) -> list[Row]:
        """All rows of a query. Raises `StoreUnavailableError` if the file cannot be read."""
        return await self._readers.all(sql, parameters)

    async def one(self, sql: str, parameters: Parameters) -> Row | None:
        """The first row of a query, if there is one. Raises `StoreUnavailableError`."""
        rows = await self._readers.all(sql, parameters)
        return rows[0] if rows else None


class Readers:
    """A small pool of connections that only read. In WAL mode they never wait for the writer.

    Every answer is read completely; no cursor stays open.
    """

    def __init__(self) -> None:
        self._idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._all: list[aiosqlite.Connection] = []

    async def open(self, path: Path, count: int) -> None:
        """Open `count` connections to an existing file. Call `close` even after an error."""
        for _ in range(count):
            connection = await aiosqlite.connect(f"{uri(path)}?mode=rw", uri=True, isolation_level=None)
            self._all.append(connection)
            connection.text_factory = ReadText()
            await connection.create_function(BEGINS_WORD, 3, begins_word, deterministic=True)
            for pragma in READER_PRAGMAS:
                await connection.execute_fetchall(pragma)
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        for connection in self._all:
            await connection.close()
        self._all.clear()

    async def all(self, sql: str, parameters: Parameters) -> list[Row]:
        connection = await self._idle.get()
        try:
            rows = await connection.execute_fetchall(sql, parameters)
            _report_damaged(connection.text_factory, sql, rows)
        except sqlite3.DatabaseError as error:
            raise StoreUnavailableError(f"the store cannot read: {error}") from error
        finally:
            # A cancelled query still occupies the connection's thread; the next one queues behind it.
            self._idle.put_nowait(connection)
        return [tuple(row) for row in rows]


def _report_damaged(text: object, sql: str, rows: Iterable[Iterable[Any]]) -> None:
    """Log which rows hold text that is no UTF-8."""
    if isinstance(text, ReadText) and text.damaged:
        found, text.damaged = set(text.damaged), []
        table = re.findall(r"\bFROM (\w+)", sql)[0]
        for row in rows:
            if not found.isdisjoint(value for value in row if isinstance(value, str)):
                report(table, next(iter(row)), "text that is not UTF-8")
