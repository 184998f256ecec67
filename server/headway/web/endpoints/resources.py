"""The REST resources of job types that have a path: submit, list, read, follow, download."""

import asyncio
import contextvars
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ...authoring.job_types import JobType, Registry
from ...authoring.resources import Reader, Readers, ResourceContext
from ...domain.jobs import Job
from ...errors import JobNotFoundError
from ..identity.gate import caller
from ..keys import FILES
from ..problems import Problem
from ..requests.filters import PageQuery
from ..requests.path import find_job
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE
from .files import FileQuery, send_output
from .jobs import read_job
from .lists import page_of_jobs
from .results import check_finished, read_result
from .submissions import create_job_of_type

READ_LIMIT_S = 30.0
READERS_AT_ONCE = 8
READ_AGAIN_AFTER_S = 5

KEY = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}"
"""What an author's function may be asked for: nothing that would be a path if it were put into one."""

Route = tuple[str, str, Handler]


class DownloadQuery(FileQuery):
    """Which of several output files; by default the first by name."""

    name: str | None = None


def resource_routes(registry: Registry) -> Iterator[Route]:
    """Method, path and endpoint of everything that the types' own paths offer."""
    for job_type in registry:
        resource = job_type.resource
        if resource is None:
            continue
        of_type = JobEndpoints(job_type)
        own = of_type if resource.readers is None else AuthorEndpoints(job_type, resource.readers)
        yield from [
            ("GET", resource.path, own.list),
            ("POST", resource.path, of_type.create),
            ("GET", f"{resource.path}/{{{own.parameter}}}", own.read),
            ("GET", f"{resource.path}/{{id}}/status", of_type.status),
            ("GET", f"{resource.path}/{{id}}/download", of_type.download),
        ]


class JobEndpoints:
    """A type's path where what it shows are the jobs and their results."""

    parameter = "id"

    def __init__(self, job_type: JobType) -> None:
        self._name = job_type.name

    async def create(self, request: web.Request) -> web.StreamResponse:
        """`POST {path}`: the body is the input."""
        return await create_job_of_type(request, self._name)

    async def list(self, request: web.Request) -> web.Response:
        """`GET {path}`: the type's jobs, as `GET /jobs` shows them."""
        wanted = query(request, PageQuery)
        return await page_of_jobs(request, wanted, wanted.as_filter(frozenset({self._name})))

    async def read(self, request: web.Request) -> web.Response:
        """`GET {path}/{id}`: what the job returned, or why there is nothing, as for `/jobs/{id}/result`."""
        await self._own_job(request)
        return await read_result(request)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """`GET {path}/{id}/status`: the job, as `/jobs/{id}` shows it."""
        await self._own_job(request)
        return await read_job(request)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """`GET {path}/{id}/download`: the job's file; of several the first by name, or the one that is named."""
        wanted = query(request, DownloadQuery)
        job = await self._own_job(request)
        check_finished(job)
        if job.result_bytes is None:
            raise Problem("gone", "The files were deleted.")
        if not job.files:
            raise Problem("not-found", "The job made no file.")
        name = job.files[0].name if wanted.name is None else wanted.name
        return await send_output(request, job, name, inline=wanted.inline)

    async def _own_job(self, request: web.Request) -> Job:
        """The job of the path's id. Raises `JobNotFoundError` for one of another type too."""
        job = await find_job(request)
        if job.type != self._name:
            raise JobNotFoundError(job.id)
        return job


class AuthorEndpoints:
    """A type's path where the author's functions say what there is."""

    parameter = "key"
    """What the author calls an id, which need not be a job's."""

    def __init__(self, job_type: JobType, readers: Readers) -> None:
        self._name = job_type.name
        self._readers = readers
        self._calls = AuthorCalls()

    async def list(self, request: web.Request) -> web.Response:
        """`GET {path}` by the author's `list`."""
        reader = self._readers.list
        given = () if reader.query_type is None else (query(request, reader.query_type),)
        if not given:
            query(request, NoQuery)
        return _answer(await self._calls.read(reader, self._context(request), *given))

    async def read(self, request: web.Request) -> web.Response:
        """`GET {path}/{key}` by the author's `get`; `None` is a 404."""
        query(request, NoQuery)
        id = request.match_info[self.parameter]
        if not re.fullmatch(KEY, id):
            raise Problem("not-found")
        body = await self._calls.read(self._readers.get, self._context(request), id)
        if body == b"null":
            raise Problem("not-found")
        return _answer(body)

    def _context(self, request: web.Request) -> ResourceContext:
        return ResourceContext(caller(request).sees, request.app[FILES].type_data(self._name))


class AuthorCalls:
    """Calls one type's functions. Those that hang cost that type's clients a 503, and nobody else anything."""

    def __init__(self, limit_s: float = READ_LIMIT_S, at_once: int = READERS_AT_ONCE) -> None:
        self._limit_s = limit_s
        self._threads = asyncio.Semaphore(at_once)

    async def read(self, reader: Reader, *arguments: Any) -> bytes:
        """What the function returns as JSON. Raises `Problem` after `limit_s` seconds."""
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                if not reader.is_async:
                    return await self._in_thread(lambda: reader.encode(reader.function(*arguments)))
                return reader.encode(await reader.function(*arguments))
        except TimeoutError:
            if not limit.expired():
                raise
            detail = f"It took longer than {self._limit_s:g} s."
            raise Problem("resource-timeout", detail, retry_after_s=READ_AGAIN_AFTER_S) from None

    async def _in_thread(self, call: Callable[[], bytes]) -> bytes:
        """Run `call` in a thread of its own. Not in asyncio's pool: uploads wait there, and so does the exit."""
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
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
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


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, headers=PRIVATE, content_type="application/json")
