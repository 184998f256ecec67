"""Large results are kept in parts, in a table of their own.

A result of 16 MB in the row of its job took the writer 90 ms to record and 60 ms to delete, and every other change
waited for it. Its parts are written one to a transaction, before the row that says that the job has completed, and
deleted one to a transaction, after the row that had them is gone. What others wait for is one part.

A crash between two parts leaves some that belong to no result. They are deleted after the next start.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import structlog

from ....domain.jobs import Job
from ....domain.outcomes import Completed, Outcome
from ....errors import ClaimLostError
from ....quotas import utf8_bytes
from ...mending import report
from ..database import Database
from ..rows import Row
from ..statements import SQL
from ..transaction import Transaction

PART_BYTES = 256 * 1024
"""Less stays in the row. Writing and committing a part takes 0.6 ms; with parts of 64 KiB a result takes twice as long
in all, and with 512 KiB others wait twice as long.
"""

log = structlog.get_logger(__name__)

Key = tuple[str, int]
"""A job's id, and the attempt whose result it is."""


class Part(NamedTuple):
    """The values for `queries/insert_result_part.sql`, in its order."""

    job_id: str
    attempt: int
    number: int
    crc32: int
    content: memoryview


class LargeResults:
    """Keeps large results, and deletes those that no job has any longer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()
        self._discarded: deque[Key] = deque()
        self._closing = False

    async def discard_orphaned(self) -> None:
        """Begin to delete what crashes have left. Raises `StoreUnavailableError`.

        It looks at all parts in the file, so no start waits for it.
        """
        for job_id, attempt in await self._database.all(SQL["orphaned_result_parts"], {}):
            self._discard((job_id, attempt))

    def close(self) -> None:
        """Leave the rest of the deletions to the next start."""
        self._closing = True

    async def keep(self, job: Job, outcome: Outcome) -> int | None:
        """Write the parts of a large result of `job.attempt`; its size in bytes. `None`: it belongs in the job's row.

        The results that are kept at the same time take turns: a transaction has one part of one of them. To be repeated
        after a `StoreUnavailableError`. Raises `ClaimLostError` if the attempt is not current: the parts that were
        written before that are deleted.
        """
        if not isinstance(outcome, Completed) or not _is_large(outcome.result_json):
            return None
        size_bytes, parts = await asyncio.to_thread(_split, job.id, job.attempt, outcome.result_json)
        for part in parts:
            async with self._turn:
                if not await self._database.write(partial(_insert, part=part), bool):
                    self.discard_unused(job)
                    raise ClaimLostError(f"attempt {job.attempt} of job {job.id} is not current")
        return size_bytes

    def discard_unused(self, job: Job) -> None:
        """Delete what the attempt `job.attempt` has kept, unless the record says that it completed its job."""
        self._discard((job.id, job.attempt))

    def deleted(self, job: Job) -> None:
        """Delete the result of a job whose row no longer has it."""
        if job.result_bytes is not None and job.result_bytes > PART_BYTES:
            self._discard((job.id, job.attempt))

    def _discard(self, key: Key) -> None:
        self._discarded.append(key)
        if len(self._discarded) == 1:
            self._delete_next()

    def _delete_next(self) -> None:
        def deleted(was_there: bool) -> None:
            if not was_there:
                self._discarded.popleft()
            if self._discarded and not self._closing:
                self._delete_next()

        def failed() -> None:
            log.warning("results could not be deleted; the next start tries again", results=len(self._discarded))
            self._discarded.clear()

        self._database.post(partial(_delete, key=self._discarded[0]), deleted, failed)


def _is_large(result_json: str) -> bool:
    return len(result_json) > PART_BYTES or utf8_bytes(result_json) > PART_BYTES


def _split(job_id: str, attempt: int, result_json: str) -> tuple[int, Sequence[Part]]:
    content = memoryview(result_json.encode())
    pieces = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    return len(content), [Part(job_id, attempt, n, zlib.crc32(piece), piece) for n, piece in enumerate(pieces)]


def _insert(tx: Transaction, part: Part) -> bool:
    """Write a part. Returns whether it was: the attempt may be stale."""
    return tx.execute(SQL["insert_result_part"], part).rowcount == 1


def _delete(tx: Transaction, key: Key) -> bool:
    """Delete one part of a result that is not its job's. Returns whether there was one."""
    return tx.execute(SQL["delete_result_part"], {"job_id": key[0], "attempt": key[1]}).rowcount == 1


async def read_result(database: Database, job_id: str) -> str | None:
    """The result of a job that is in parts; `None` if it has none now, or a damaged one: the log says so.

    Raises `StoreUnavailableError`.
    """
    rows = await database.all(SQL["result_parts"], {"job_id": job_id})
    if not rows:
        return None  # deleted since
    found = await asyncio.to_thread(_joined, rows)
    if found is None:
        report("result_parts", job_id, "parts that are missing or damaged")
    return found


def _joined(rows: Sequence[Row]) -> str | None:
    """The text that the parts make, if they are all there and as they were."""
    result_bytes, *_ = rows[0]
    parts: list[bytes] = []
    for place, (_, number, crc32, content) in enumerate(rows):
        if number != place or not isinstance(content, bytes) or zlib.crc32(content) != crc32:
            return None
        parts.append(content)
    joined = b"".join(parts)
    return joined.decode() if len(joined) == result_bytes else None
