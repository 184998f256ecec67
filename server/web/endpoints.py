"""The endpoints of one job and of lists: everything but polls, submissions' reading and the streams."""

import re
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import urlencode

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ..clock import utc_now
from ..errors import JobNotFoundError, StoreUnavailableError, TooManyWaitsError
from ..handlers import JobType
from ..jobs import JOB_ID, Job, JobFilter, Status, is_job_id
from .auth import caller
from .intake import Instant, NoQuery, query
from .keys import ENCODER, FILES, REGISTRY, STATE, STORE, WAITING
from .links import LINKS
from .problems import Problem
from .readiness import READINESS
from .sent_files import send_file
from .wire import INLINE_RESULT_BYTES, error_fields, job_fields, log_line_fields, path_segment, retry_after_s

CANCEL_WAIT_S = 2.0
CANCEL_POLL_S = 1
PRIVATE = {"Cache-Control": "private, no-cache"}
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


def _split(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


class _Query(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class FilterQuery(_Query):
    """Which jobs a stream is about; comma-separated values are alternatives."""

    type: Annotated[frozenset[str], BeforeValidator(_split)] = frozenset()
    status: Annotated[frozenset[Status], BeforeValidator(_split)] = frozenset()
    ids: Annotated[frozenset[str], BeforeValidator(_split), Field(max_length=500)] = frozenset()

    def as_filter(self) -> JobFilter:
        return JobFilter(statuses=self.status, types=self.type, ids=self.ids)


class PageQuery(_Query):
    """Which jobs a list of one type shows, and how many of them."""

    status: Annotated[frozenset[Status], BeforeValidator(_split)] = frozenset()
    label: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = Field(
        None, description="`nextCursor` of the page before.", json_schema_extra={"pattern": f"^{JOB_ID}$"}
    )

    def as_filter(self, types: frozenset[str]) -> JobFilter:
        return JobFilter(
            statuses=self.status,
            types=types,
            label=self.label,
            created_after=self.created_after,
            created_before=self.created_before,
        )


class ListQuery(PageQuery):
    """Which jobs the list of all types shows, and how many of them."""

    type: Annotated[frozenset[str], BeforeValidator(_split)] = frozenset()


class LogsQuery(_Query):
    """Which log lines: those after a sequence number, at most `limit`."""

    after: Annotated[int, Field(ge=0, le=2**62)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class PurgeQuery(_Query):
    """Whether the record goes too."""

    purge: bool = False


class FileQuery(_Query):
    """Whether a file is to be shown rather than saved."""

    inline: bool = False


async def list_jobs(request: web.Request) -> web.Response:
    """`GET /jobs`"""
    wanted = query(request, ListQuery)
    return await page_of_jobs(request, wanted, wanted.as_filter(wanted.type))


async def page_of_jobs(request: web.Request, wanted: PageQuery, filter: JobFilter) -> web.Response:
    """A page of the jobs that `filter` lets through, and where the next one is."""
    store = request.app[STORE]
    try:
        page = await store.page(caller(request), filter, wanted.limit, wanted.cursor)
    except ValueError:
        errors = [("/cursor", "is not a cursor of this list")]
        raise Problem("validation-failed", "The cursor is unknown.", errors=errors) from None
    now = utc_now()
    links = request.app[LINKS]
    jobs = [job_fields(job, await store.queue_position(job, now), links) for job in page.jobs]
    headers = dict(PRIVATE)
    if page.next_cursor is not None:
        more = urlencode({**request.query, "cursor": page.next_cursor})
        headers["Link"] = f'<{links.to(request.path)}?{more}>; rel="next"'
    return _json(to_json({"jobs": jobs, "nextCursor": page.next_cursor}), headers=headers)


async def stats(request: web.Request) -> web.Response:
    """`GET /jobs/stats`"""
    query(request, NoQuery)
    counts = await request.app[STORE].counts(caller(request))
    by_status = {status.value: sum(of_type.get(status, 0) for of_type in counts.by_type.values()) for status in Status}
    by_type = {
        name: {status.value: of_type.get(status, 0) for status in Status}
        for name, of_type in sorted(counts.by_type.items())
    }
    total = sum(by_status.values())
    return _json(to_json({"total": total, "byStatus": by_status, "byType": by_type}), headers=PRIVATE)


async def read_logs(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/logs`"""
    wanted = query(request, LogsQuery)
    job = await find_job(request)
    lines = await request.app[STORE].logs(job.id, wanted.after, job.last_seq, wanted.limit)
    next_after = lines[-1].seq if len(lines) == wanted.limit else None
    body = to_json({"lines": [log_line_fields(line) for line in lines], "nextAfter": next_after})
    return _json(body, headers=PRIVATE)


async def read_result(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/result`: the place where a failed job is an HTTP error."""
    query(request, NoQuery)
    job = await find_job(request)
    check_finished(job)
    documents = await request.app[STORE].documents(job.owner, job.id)
    if documents.result_json is None:
        raise Problem("gone", "The result was deleted.")
    return _json(documents.result_json.encode(), headers=PRIVATE)


async def inline_result(request: web.Request, job: Job) -> bytes:
    """What the handler returned, as JSON text, up to 64 KiB; else `null`."""
    if job.result_bytes is None or job.result_bytes > INLINE_RESULT_BYTES:
        return b"null"
    documents = await request.app[STORE].documents(job.owner, job.id)
    return (documents.result_json or "null").encode()


def check_finished(job: Job) -> None:
    """Raises `Problem` if the job has no result to show: it is too early, it failed, it was cancelled."""
    if not job.terminal:
        raise Problem("not-finished", f"The job is {job.status}.", retry_after_s=retry_after_s(job))
    if job.status is Status.FAILED:
        error = None if job.error is None else error_fields(job.error)
        raise Problem("job-failed", job.error.title if job.error else None, extra={"jobError": error})
    if job.status is Status.CANCELLED:
        raise Problem("gone", "The job was cancelled.")


async def read_file(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}/files/{name}`: from the job's own directory, never run in our origin."""
    wanted = query(request, FileQuery)
    job = await find_job(request)
    return await send_output(request, job, request.match_info["name"], inline=wanted.inline)


async def send_output(request: web.Request, job: Job, name: str, *, inline: bool) -> web.StreamResponse:
    """The job's output file of that name. Raises `Problem`."""
    file = next((file for file in job.files if file.name == name), None)
    if file is None:
        raise Problem("not-found", "The job has no such file.")
    headers = {
        "Content-Type": file.content_type,
        "Content-Disposition": _disposition(name, inline=inline),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SANDBOX,
        **PRIVATE,
    }
    return await send_file(request, request.app[FILES].job(job.id) / "files" / name, headers)


def _disposition(name: str, *, inline: bool) -> str:
    """RFC 6266: the name twice, in ASCII for those who know no other (its appendix D)."""
    ascii_name = re.sub(r"[^ !#-\[\]-~]|%", "_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{ascii_name}\"; filename*=UTF-8''{path_segment(name)}"


async def delete_job(request: web.Request) -> web.Response:
    """`DELETE /jobs/{id}`: cancel, or with `?purge=true` delete; recorded first, then awaited for a moment."""
    wanted = query(request, PurgeQuery)
    job = await request.app[STORE].request_cancel(caller(request), _job_id(request), utc_now(), purge=wanted.purge)
    try:
        with suppress(TooManyWaitsError):
            job = await request.app[WAITING].for_job(request, job.id, CANCEL_WAIT_S)
    except JobNotFoundError:  # purged
        return web.Response(status=204)
    if job.terminal:
        return web.Response(status=204)
    headers = {"Location": request.app[LINKS].job(job), "Retry-After": str(CANCEL_POLL_S), **PRIVATE}
    return _json(request.app[ENCODER].job(job, None), status=202, headers=headers)


async def job_types(request: web.Request) -> web.Response:
    """`GET /job-types`"""
    query(request, NoQuery)
    return _json(to_json({"jobTypes": [type_fields(job_type) for job_type in request.app[REGISTRY]]}))


def type_fields(job_type: JobType) -> dict[str, Any]:
    reason = job_type.unavailable()
    return {
        "name": job_type.name,
        "title": job_type.title,
        "description": job_type.description,
        "path": None if job_type.resource is None else job_type.resource.path,
        "inputSchema": job_type.input_schema,
        "outputSchema": job_type.output_schema,
        "uploads": list(job_type.uploads),
        "limits": {
            "maxAttempts": job_type.max_attempts,
            "timeoutSeconds": job_type.timeout_s,
            "concurrency": job_type.concurrency,
            "retainSeconds": job_type.retain_s,
        },
        "available": reason is None,
        "unavailableReason": reason,
    }


async def healthz(_request: web.Request) -> web.Response:
    """`GET /healthz`: the process answers."""
    return _json(b'{"status":"ok"}', headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: the store can write and the server takes work."""
    if request.app[STATE].stopping:
        raise Problem("stopping", retry_after_s=2)
    try:
        await request.app[READINESS].check()
    except StoreUnavailableError as error:
        raise Problem("store-unavailable", str(error), retry_after_s=5) from None
    return _json(b'{"status":"ready"}', headers={"Cache-Control": "no-store"})


async def find_job(request: web.Request) -> Job:
    """The job that the path names. Raises `JobNotFoundError`, from the instant at which it expires."""
    job = await request.app[STORE].get(caller(request), _job_id(request))
    if job.expires_at is not None and job.expires_at <= utc_now():
        raise JobNotFoundError(job.id)
    return job


def _job_id(request: web.Request) -> str:
    job_id = request.match_info["id"]
    if not is_job_id(job_id):
        raise JobNotFoundError(job_id)
    return job_id


def _json(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
