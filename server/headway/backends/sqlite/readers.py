"""Reading the file beside the writer: a few connections, whole answers, no open cursors."""

import asyncio
import sqlite3
from pathlib import Path

import aiosqlite

from ...errors import StoreUnavailableError
from .database import READER_PRAGMAS, uri
from .rows import Parameters, Row


class Readers:
    """A small pool of connections that only read. In WAL mode they never wait for the writer."""

    def __init__(self) -> None:
        self._idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._all: list[aiosqlite.Connection] = []

    async def open(self, path: Path, count: int) -> None:
        """Open `count` connections to an existing file. After an error `close` must still be called."""
        for _ in range(count):
            connection = await aiosqlite.connect(f"{uri(path)}?mode=rw", uri=True, isolation_level=None)
            self._all.append(connection)
            for pragma in READER_PRAGMAS:
                await connection.execute_fetchall(pragma)
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        for connection in self._all:
            await connection.close()
        self._all.clear()

    async def all(self, sql: str, parameters: Parameters) -> list[Row]:
        """All rows of a query. Raises `StoreUnavailableError` if the file cannot be read."""
        connection = await self._idle.get()
        try:
            rows = await connection.execute_fetchall(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise StoreUnavailableError(f"the store cannot read: {error}") from error
        finally:
            # A cancelled query still occupies the connection's thread; the next one queues behind it.
            self._idle.put_nowait(connection)
        return [tuple(row) for row in rows]

    async def one(self, sql: str, parameters: Parameters) -> Row | None:
        """The first row of a query, if there is one."""
        rows = await self.all(sql, parameters)
        return rows[0] if rows else None
