"""The resources of job types that have a path of their own: what the author's functions say there is."""

import asyncio
import contextvars
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..authoring.author_code import AuthorCode
from ..authoring.resources import Reader, Readers, ResourceContext
from ..domain.access import Caller
from ..errors import ResourceNotFoundError, ResourceTimeoutError

READ_LIMIT_S = 30.0
READERS_AT_ONCE = 8
READ_AGAIN_AFTER_S = 5

KEY = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}"
"""What an author's function may be asked for: nothing that would be a path if it were put into one."""


class Resources:
    """One type's resources, by the author's functions. A slow function costs that type's callers a time-out at most."""

    def __init__(self, readers: Readers, data_dir: Path) -> None:
        """`data_dir`: the directory that all jobs of the type share."""
        self._readers = readers
        self._data_dir = data_dir
        self._calls = AuthorCalls()

    async def list(self, caller: Caller, *query: Any) -> bytes:
        """What the author's `list` returns, as JSON. Raises `ResourceTimeoutError`."""
        return await self._calls.read(self._readers.list, self._context(caller), *query)

    async def get(self, caller: Caller, key: str) -> bytes:
        """What the author's `get` returns, as JSON. Raises `ResourceNotFoundError` if that is nothing."""
        if not re.fullmatch(KEY, key):
            raise ResourceNotFoundError(key)
        found = await self._calls.read(self._readers.get, self._context(caller), key)
        if found == b"null":
            raise ResourceNotFoundError(key)
        return found

    def _context(self, caller: Caller) -> ResourceContext:
        return ResourceContext(caller.sees, self._data_dir)


class AuthorCalls:
    """Calls one type's functions, each within a time limit, the plain ones in threads."""

    def __init__(self, limit_s: float = READ_LIMIT_S, at_once: int = READERS_AT_ONCE) -> None:
        self._limit_s = limit_s
        self._threads = asyncio.Semaphore(at_once)
        self._code = AuthorCode("resource")

    async def read(self, reader: Reader, *arguments: Any) -> bytes:
        """What the function returns, as JSON. Raises `ResourceTimeoutError` after `limit_s` seconds."""
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                if not reader.is_async:
                    return await self._in_thread(lambda: reader.encode(reader.function(*arguments)))
                with self._code.running():
                    return reader.encode(await reader.function(*arguments))
        except TimeoutError:
            if not limit.expired():
                raise
            raise ResourceTimeoutError(f"It took longer than {self._limit_s:g} s.", READ_AGAIN_AFTER_S) from None

    async def _in_thread(self, call: Callable[[], bytes]) -> bytes:
        """Run `call` in a thread of its own. asyncio's pool is small, shared with uploads, and waited for at exit."""
        await self._threads.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[bytes, BaseException | None]] = loop.create_future()

        def ended(body: bytes, error: BaseException | None) -> None:
            self._threads.release()
            if not done.done():
                done.set_result((body, error))

        def run() -> None:
            body, error = b"", None
            try:
                body = call()
            except BaseException as raised:  # noqa: BLE001 - SystemExit too: it would only end this thread
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody is waiting any longer
                loop.call_soon_threadsafe(ended, body, error)

        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(run,), name="resource", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._threads.release()
            raise
        body, error = await done
        if error is not None:
            raise RuntimeError("the author's function failed") from error
        return body
