"""The REST resources of job types with a path of their own: submit, list, read, follow, download."""

from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler

from ...authoring.job_types import JobType, Registry
from ...authoring.resources import Readers
from ...domain.jobs import Job
from ...service.resources import Resources
from ..identity.gate import caller, count_list
from ..parts import parts
from ..requests.filters import PageQuery
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE
from ..responses.representations import representation
from .files import FileQuery, send_output
from .jobs import read_state
from .lists import page_of_jobs
from .results import read_result
from .submissions import create_resource

Route = tuple[str, str, Handler]


class DownloadQuery(FileQuery):
    """Which of several output files is wanted; by default the first by name."""

    name: str | None = None


def resource_routes(registry: Registry) -> Iterator[Route]:
    """Method, path and endpoint of every route below the types' own paths."""
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
    """The endpoints of a type's path that shows its jobs and their results."""

    parameter = "id"

    def __init__(self, job_type: JobType) -> None:
        self._name = job_type.name

    async def create(self, request: web.Request) -> web.StreamResponse:
        """`POST {path}`: the body is the input, and may have options beside its fields."""
        return await create_resource(request, self._name)

    async def list(self, request: web.Request) -> web.Response:
        """`GET {path}`: the type's jobs, as `GET /jobs` shows them."""
        wanted = query(request, PageQuery)
        return await page_of_jobs(request, wanted, wanted.as_filter(frozenset({self._name})))

    async def read(self, request: web.Request) -> web.Response:
        """`GET {path}/{id}`: what the job returned, as `/jobs/{id}/result` shows it."""
        await self._own_job(request)
        return await read_result(request)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """`GET {path}/{id}/status`: the job, as `/jobs/{id}` shows it."""
        await self._own_job(request)
        return await read_state(request)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """`GET {path}/{id}/download`: the job's file; of several, the one that is named or the first by name."""
        wanted = query(request, DownloadQuery)
        job = await self._own_job(request)
        name = parts(request).service.results.download_name(job, wanted.name)
        return await send_output(request, job, name, inline=wanted.inline)

    async def _own_job(self, request: web.Request) -> Job:
        """The job of the path's id. Raises `JobNotFoundError`, for a job of another type too."""
        reading = parts(request).service.reading
        return await reading.job_of_type(caller(request), request.match_info["id"], self._name)


class AuthorEndpoints:
    """The endpoints of a type's path that shows what the author's functions return."""

    parameter = "key"
    """What the author calls an id, which need not be a job's."""

    def __init__(self, job_type: JobType, readers: Readers) -> None:
        self._name = job_type.name
        self._query_type = readers.list.query_type

    async def list(self, request: web.Request) -> web.Response:
        """`GET {path}` by the author's `list`."""
        given = () if self._query_type is None else (query(request, self._query_type),)
        if not given:
            query(request, NoQuery)
        await count_list(request)
        return await representation(request, await self._resources(request).list(caller(request), *given), PRIVATE)

    async def read(self, request: web.Request) -> web.Response:
        """`GET {path}/{key}` by the author's `get`; `None` is a 404."""
        query(request, NoQuery)
        body = await self._resources(request).get(caller(request), request.match_info[self.parameter])
        return await representation(request, body, PRIVATE)

    def _resources(self, request: web.Request) -> Resources:
        return parts(request).service.resources[self._name]
