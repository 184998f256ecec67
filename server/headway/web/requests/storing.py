"""Files of submissions, streamed to disk: blocking calls happen in a thread, a megabyte at a time."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ...domain.jobs import MAX_FILENAME_CHARS, UploadedFile
from ...errors import StoreUnavailableError
from ...syncing import write_all
from ...text import clean_text
from .content import READ_BYTES, too_large

WRITE_BYTES = 1024 * 1024


async def store_file(
    read: Callable[[int], Awaitable[bytes]],
    path: Path | None,
    most_bytes: int,
    room: Callable[[int], None],
    *,
    hashing: bool,
) -> tuple[int, str | None]:
    """Store what `read` returns until it returns nothing, and sync it. Returns its size and, if `hashing`, its SHA-256.

    Without `path` nothing is stored. `room` is given the size of each piece before it is written. Raises `Problem` for
    more than `most_bytes`, what `room` raises, and `StoreUnavailableError`.
    """
    size_bytes = 0
    pending = bytearray()
    with storing():
        sink = await asyncio.to_thread(_Sink, path, hashing=hashing)
    with closing(sink):
        while chunk := await read(READ_BYTES):
            size_bytes += len(chunk)
            if size_bytes > most_bytes:
                raise too_large(most_bytes)
            pending += chunk
            if len(pending) >= WRITE_BYTES:
                room(len(pending))
                with storing():
                    await asyncio.to_thread(sink.write, pending)
                pending = bytearray()
        room(len(pending))
        with storing():
            await asyncio.to_thread(sink.finish, pending)
    return size_bytes, sink.sum


def described(field: str, filename: str, content_type: str, size_bytes: int) -> UploadedFile:
    """What is recorded of an upload."""
    return UploadedFile(field, *clean_names(filename, content_type), size_bytes)


def clean_names(filename: str, content_type: str) -> tuple[str, str]:
    """Both as they are recorded. Long ones are cut; of a file name the end is kept, which has the extension."""
    return (
        clean_text(filename[-MAX_FILENAME_CHARS:], MAX_FILENAME_CHARS),
        clean_text(content_type[:MAX_FILENAME_CHARS], MAX_FILENAME_CHARS),
    )


class _Sink:
    """Where a file's bytes go: into a file, into a digest, or both. Every method blocks."""

    def __init__(self, path: Path | None, *, hashing: bool) -> None:
        self._sha256 = hashlib.sha256() if hashing else None
        self._file = None if path is None else path.open("xb", 0)

    def write(self, data: bytearray) -> None:
        if self._sha256 is not None:
            self._sha256.update(data)
        if self._file is not None:
            write_all(self._file, data)

    def finish(self, rest: bytearray) -> None:
        self.write(rest)
        if self._file is not None:
            os.fsync(self._file.fileno())

    @property
    def sum(self) -> str | None:
        return None if self._sha256 is None else self._sha256.hexdigest()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@contextmanager
def storing() -> Iterator[None]:
    """Raises `StoreUnavailableError` if the upload cannot be stored.

    For file operations only: a lost connection is an `OSError` too.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"the upload cannot be stored: {error.strerror}") from error
