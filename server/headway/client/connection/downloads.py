"""Downloads into open files. One that is cut off goes on where it was, if the server can do that."""

import os
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from ..errors import ProblemError, ServerUnreachableError
from .requests import Request
from .session import Session, passes
from .transport import Stream

PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


async def download(session: Session, path: str, file: IO[bytes]) -> None:
    """Write what is at `path` to a file that is open for writing, from its beginning.

    It is tried again like any request, for as long as something arrives. Raises what `Session.send` raises.
    """
    patience, tag = session.patience(), ""
    while True:
        at = file.tell()
        try:
            async with session.stream(_from(path, at, tag)) as stream:
                tag = stream.response.headers.get("ETag", "")
                await _write(stream, file)
                return
        except ServerUnreachableError:
            patience = session.patience() if file.tell() > at else patience
            pause_s = patience.pause_s()
            if pause_s is None:
                raise
        except ProblemError as error:
            # Everything has arrived, or another file is there now.
            restarting = error.status == RANGE_NOT_SATISFIABLE and tag != ""
            pause_s = patience.pause_s(error.retry_after_s) if restarting or passes(error) else None
            if pause_s is None:
                raise
            tag = "" if restarting else tag
        await session.transport.pause(pause_s)


def _from(path: str, at: int, tag: str) -> Request:
    # Ranges of a compressed body are none of the file's (RFC 9110, 14.2).
    headers = {"Accept-Encoding": "identity"}
    if at and tag:
        headers |= {"Range": f"bytes={at}-", "If-Range": tag}
    return Request(method="GET", path=path, headers=headers)


async def _write(stream: Stream, file: IO[bytes]) -> None:
    if stream.response.status_code != PARTIAL_CONTENT:
        file.seek(0)
        file.truncate()
    async with aclosing(stream.chunks()) as chunks:
        async for chunk in chunks:
            file.write(chunk)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` at the end, or is deleted: half a file never looks whole."""
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def make_folder(to: str | os.PathLike[str]) -> None:
    """Make a folder, and those that it is in, unless they are there."""
    Path(to).mkdir(parents=True, exist_ok=True)


def place_of(name: str, to: str | os.PathLike[str] | None) -> Path:
    """Where a file of this name goes: to the path, into the folder, or into the working directory.

    Raises `ValueError` for a name that leads out of the folder; the server gives none such.
    """
    target = Path("." if to is None else to)
    if not target.is_dir():
        return target
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"the file name {name!r} is not safe: say where it goes")
    return target / name
