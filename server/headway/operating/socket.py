"""The command socket of a running server: a Unix socket in its data directory, one JSON line each way.

Only users who can write to the directory can connect. If the path is too long for a socket's address (some 100 bytes),
the socket is reached through the directory's descriptor.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from ..errors import HeadwayError, SetupError

SOCKET_NAME = "headway.sock"
TIMEOUT_S = 3600.0
LONGEST_ADDRESS_BYTES = 100
MAX_LINE_BYTES = 64 * 1024
QUIET = frozenset({"address", "audit"})
"""Commands that are sent often, and change nothing: they are not logged."""

log = structlog.get_logger(__name__)

Run = Callable[[str, Any], Awaitable[dict[str, Any]]]


class CommandSocket:
    """The server's side. `run` takes a command's name and fields and returns its result."""

    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._run = run
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        with _address(self._folder) as address:
            with suppress(FileNotFoundError):
                os.unlink(address)  # noqa: PTH108 - a killed server's: this one holds the directory's lock
            self._server = await asyncio.start_unix_server(self._answer, address, limit=MAX_LINE_BYTES)
            os.chmod(address, 0o600)  # noqa: PTH101 - a string, like the address

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.to_thread((self._folder / SOCKET_NAME).unlink, missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            answer = await self._answer_to(reader)
            if answer is not None:
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> dict[str, Any] | None:
        """`None` if Ctrl-C ended the command before it had asked."""
        try:
            line = await reader.readline()
        except ValueError:
            return {"error": f"a command has at most {MAX_LINE_BYTES:,} bytes"}
        return await self._carry_out(line) if line.endswith(b"\n") else None

    async def _carry_out(self, line: bytes) -> dict[str, Any]:
        try:
            command, fields = json.loads(line)
            if command not in QUIET:
                log.info("an operator's command", command=command)
            return await self._run(command, fields)
        except HeadwayError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("an operator's command failed")
            return {"error": f"{type(error).__name__}: {error}"}


def ask(folder: Path, command: str, fields: Any) -> dict[str, Any]:
    """Have the server that owns `folder` run a command. Raises `SetupError`."""
    try:
        with _address(folder) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(address)
            connection.sendall(json.dumps([command, fields]).encode() + b"\n")
            line = connection.makefile("rb").readline()
    except OSError as error:
        raise SetupError(f"the server that owns {folder} does not respond ({error}): restart it") from error
    if not line.endswith(b"\n"):
        raise SetupError(f"the server that owns {folder} closed the connection: see its log")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise SetupError(answer["error"])
    return answer


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """A path to the socket that fits into `sun_path` (unix(7))."""
    path = folder / SOCKET_NAME
    if len(os.fsencode(path)) <= LONGEST_ADDRESS_BYTES:
        yield str(path)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
