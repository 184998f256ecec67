"""What has happened to a job: `GET /jobs/{id}/logs` and `GET /jobs/{id}/attempts`."""

from typing import Annotated

from aiohttp import web
from pydantic import Field
from pydantic_core import to_json

from ...representation import attempt_fields, log_line_fields
from ..parts import parts
from ..requests.filters import QueryModel
from ..requests.path import find_job
from ..requests.query import query
from ..responses.json import PRIVATE
from ..responses.representations import representation


class LogsQuery(QueryModel):
    """Which log lines: those after a sequence number, at most `limit`."""

    after: Annotated[int, Field(ge=0, le=2**62)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class AttemptsQuery(QueryModel):
    """Which attempts: those after a number, at most `limit`."""

    after: Annotated[int, Field(ge=0, le=2**62)] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 50


async def read_logs(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/logs`"""
    wanted = query(request, LogsQuery)
    job = await find_job(request)
    lines = await parts(request).service.reading.logs(job, wanted.after, wanted.limit)
    next_after = lines[-1].seq if len(lines) == wanted.limit else None
    body = to_json({"lines": [log_line_fields(line) for line in lines], "nextAfter": next_after})
    return await representation(request, body, PRIVATE)


async def list_attempts(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/attempts`"""
    wanted = query(request, AttemptsQuery)
    job = await find_job(request)
    attempts = await parts(request).service.reading.attempts(job, wanted.after, wanted.limit)
    next_after = attempts[-1].number if len(attempts) == wanted.limit else None
    body = to_json({"attempts": [attempt_fields(attempt) for attempt in attempts], "nextAfter": next_after})
    return await representation(request, body, PRIVATE)
