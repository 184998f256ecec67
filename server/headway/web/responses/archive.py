"""A job's output files as one ZIP file, made while it is sent: neither the disk nor the memory holds all of it."""

import asyncio
import os
import re
import time
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import closing
from typing import IO, BinaryIO, cast

from ...domain.jobs import OutputFile
from ...errors import OutputNotFoundError

PIECE_BYTES = 256 * 1024
READ_BYTES = 64 * 1024
MOST_READ_BYTES = 8 * 1024 * 1024
"""At once, of what compresses well: the threads are shared."""
FAST, NONE = 1, 0
"""Levels of zlib. Its default takes three times as long as the fastest, for a tenth less."""
_COMPRESSES = re.compile(r"text/|image/svg|application/(?:[\w.-]+\+)?(?:json|xml|x-ndjson|javascript)")
"""Media types worth the time. Pictures, archives and the like would take 30 s a gigabyte and become no smaller."""

EARLIEST_S, LATEST_S = 315532800, 4354819199
"""1980 and 2107, in seconds since 1970: a ZIP file knows no other years (APPNOTE.TXT, 4.4.6)."""
_UNSAFE = re.compile(r'[\\/:*?"<>|]')
"""What separates directories, names a drive or is forbidden in a name somewhere."""

Opening = Callable[[str], BinaryIO]
"""Opens the published file of that name; it blocks. Raises `OutputNotFoundError` and `StoreUnavailableError`."""


class Archive:
    """A ZIP file that is being written by the standard library, which adds ZIP64 where a size or a number needs it."""

    def __init__(self, opening: Opening, turns: asyncio.Semaphore) -> None:
        """`turns`: held while a piece is made. All archives share it, so that they leave threads for other work."""
        self._opening = opening
        self._turns = turns
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(cast("IO[bytes]", self._sink), "w")  # it has what is called of it
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}
        """By name, the number that was given last, where several files have the same one."""

    async def pieces(self, pages: AsyncIterator[Sequence[OutputFile]]) -> AsyncGenerator[bytes, None]:
        """The ZIP file of these files. Everything that blocks or computes is done in a thread, a piece at a time.

        Raises `OutputNotFoundError` if a file is gone meanwhile or is no longer what the record says.
        """
        try:
            async for page in pages:
                with closing(self._of_page(page)) as making:
                    while piece := await self._in_thread(making):
                        yield piece
            yield await self._in_thread(self._end())
        finally:
            self._zip.filelist.clear()  # one that is abandoned needs no directory, which takes long for many files
            self._zip.close()

    async def _in_thread(self, making: Generator[bytes, None, None]) -> bytes:
        """What it makes next, nothing at its end. Also if cancelled it has stopped then, so that it can be closed."""
        async with self._turns:
            step = asyncio.create_task(asyncio.to_thread(next, making, b""))
            try:
                return await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.gather(step, return_exceptions=True)
                raise

    def _of_page(self, files: Sequence[OutputFile]) -> Generator[bytes, None, None]:
        for file in files:
            yield from self._of_file(file)
        if self._sink.held:
            yield self._sink.take()

    def _of_file(self, file: OutputFile) -> Generator[bytes, None, None]:
        left, read_bytes = file.size_bytes, 0
        with self._opening(file.name) as opened, self._zip.open(self._entry(file, opened), "w") as target:
            while data := opened.read(min(READ_BYTES, left + 1)):
                left -= len(data)
                if left < 0:
                    break
                target.write(data)
                read_bytes += len(data)
                if len(self._sink.held) >= PIECE_BYTES or (read_bytes >= MOST_READ_BYTES and self._sink.held):
                    yield self._sink.take()
                    read_bytes = 0
        if left:
            raise OutputNotFoundError(f"The file {file.name} has changed.")

    def _entry(self, file: OutputFile, opened: BinaryIO) -> zipfile.ZipInfo:
        modified_s = min(max(os.fstat(opened.fileno()).st_mtime, EARLIEST_S), LATEST_S)
        entry = zipfile.ZipInfo(self._own_name(file.name), time.gmtime(modified_s)[:6])
        entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, file.size_bytes  # the size decides about ZIP64
        # Without a public name before Python 3.13, where this one still works.
        entry._compresslevel = FAST if _COMPRESSES.match(file.content_type) else NONE  # type: ignore[attr-defined]  # noqa: SLF001
        entry.external_attr = 0o644 << 16
        return entry

    def _end(self) -> Generator[bytes, None, None]:
        self._zip.close()
        yield self._sink.take()

    def _own_name(self, name: str) -> str:
        """A name that no program takes for a path, and that no other file has on a disk that ignores case."""
        safe = _UNSAFE.sub("_", name).rstrip(". ") or "_"
        stem, dot, suffix = safe.rpartition(".")
        own, key = safe, safe.casefold()
        while own.casefold() in self._names:
            self._numbers[key] = number = self._numbers.get(key, 1) + 1
            own = f"{stem} ({number}).{suffix}" if dot and stem else f"{safe} ({number})"
        self._names.add(own.casefold())
        return own


class _Sink:
    """Takes what is written until somebody fetches it. It cannot be sought: sizes follow their files."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: bytes) -> int:
        self.held += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: it is fetched when there is enough of it."""

    def take(self) -> bytes:
        taken, self.held = bytes(self.held), bytearray()
        return taken
