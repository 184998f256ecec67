"""The response to a submission: 202, and where to look (RFC 9110, 15.3.3).

Jobs that were just queued differ in little but their ids and times. Nearly all responses are filled into a template for
their type, which is made of an ordinary response: that takes a fifth of the time.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

from pydantic_core import to_json

from ...authoring.job_types import Registry
from ...domain.instants import EPOCH
from ...domain.jobs import Job
from ...links import Links
from ...representation import instant, job_fields, poll_after_s
from .json import PRIVATE
from .ready import ReadyResponse, head_of_json

ANY_ID = "00000000-0000-7000-8000-000000000000"
"""Stands for a job's id where a template is made. No job has it: it would be of 1970."""

Headers = Mapping[str, str]


class _Template(NamedTuple):
    """Head and body of a response, with formats in place of what differs between two jobs."""

    head: bytes
    body: bytes

    @classmethod
    def of(cls, body: bytes, headers: Headers) -> Self:
        """From the response for a job that was submitted at `EPOCH` with `ANY_ID`."""
        id, at, length = ANY_ID.encode(), f'"{instant(EPOCH)}"'.encode(), b"Content-Length: %d" % len(body)
        head = head_of_json(202, body, headers).replace(b"%", b"%%").replace(id, b"%(id)b")
        filled = body.replace(b"%", b"%%").replace(id, b"%(id)b").replace(at, b'"%(at)b"')
        return cls(
            head.replace(length, b"%(more)bContent-Length: %(length)d"),
            filled.replace(b'"queuePosition":null', b'"queuePosition":%(position)b'),
        )

    def response(self, job: Job, queue_position: int | None, more: Headers) -> ReadyResponse:
        values: dict[bytes, bytes | int] = {
            b"id": job.id.encode(),
            b"at": (instant(job.created_at) or "").encode(),
            b"position": b"null" if queue_position is None else b"%d" % queue_position,
        }
        body = self.body % values
        values[b"length"] = len(body)
        values[b"more"] = "".join([f"{name}: {value}\r\n" for name, value in more.items()]).encode("ascii")
        return ReadyResponse(202, self.head % values, body)


def fits_template(job: Job) -> bool:
    """Whether the job, as it was queued, differs from others of its type in its id and times only."""
    return job.label is None and job.retry_of is None and job.run_at is job.created_at


class AcceptedResponses:
    """Makes the responses to accepted submissions."""

    def __init__(self, registry: Registry, links: Links) -> None:
        self._registry = registry
        self._links = links
        self._templates: dict[tuple[str, int], _Template] = {}

    def headers(self, job: Job) -> dict[str, str]:
        """Where to look. For a type with `on_complete="redirect"`, `Location` leads on to the result."""
        job_type = self._registry.get(job.type)
        leads_on = job_type is not None and job_type.on_complete == "redirect"
        return {
            "Location": self._links.job(job, redirect=leads_on),
            "Operation-Location": self._links.operation(job),
            **PRIVATE,
        }

    def fill(self, job: Job, queue_position: int | None, more: Headers) -> ReadyResponse:
        """The response for a job for which `fits_template` is true, with `more` headers."""
        kind = (job.type, job.max_attempts)
        template = self._templates.get(kind) or self._make(kind, job)
        return template.response(job, queue_position, more)

    def _make(self, kind: tuple[str, int], job: Job) -> _Template:
        job = job._replace(id=ANY_ID, created_at=EPOCH, run_at=EPOCH, updated_at=EPOCH)
        body = to_json(job_fields(job, None, self._links))
        headers = self.headers(job) | {"Retry-After": str(poll_after_s(job))}
        self._templates[kind] = template = _Template.of(body, headers)
        return template
