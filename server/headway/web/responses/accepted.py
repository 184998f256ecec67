"""The response to a submission: 202, and where to look (RFC 9110, 15.3.3).

Jobs that were just queued differ in little but their ids and times. Nearly all responses are filled into a template for
their type, which is made of an ordinary response: that takes a fifth of the time.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from pydantic_core import to_json

from ...authoring.job_types import Registry
from ...domain.instants import EPOCH
from ...domain.jobs import Job, NewJob
from ...links import Links
from ...representation import instant, job_fields, poll_after_s
from .json import PRIVATE
from .ready import ReadyResponse, head_of_json

ANY_ID = "00000000-0000-7000-8000-000000000000"
"""Stands for a job's id where a template is made. No job has it: it would be of 1970."""
ANY_BASE = "http://base.invalid"
"""Stands for the URL by which a client reached the server (RFC 2606, 2)."""

Headers = Mapping[str, str]


class _Template:
    """Head and body of a response, with places for what differs between two jobs.

    A response is formatted with a tuple, in half the time that looking up each name in a dictionary takes.
    """

    def __init__(self, body: bytes, headers: Headers) -> None:
        """From the response for a job that was submitted at `EPOCH` with `ANY_ID`, to a client that used `ANY_BASE`."""
        head = head_of_json(202, body, headers)
        id, at, base = ANY_ID.encode(), f'"{instant(EPOCH)}"'.encode(), ANY_BASE.encode()
        self._body, self._in_body = _with_places(body, (id, at, b'"queuePosition":null'))
        self._head, self._in_head = _with_places(head, (id, base, b"Content-Length: %d" % len(body)))

    def response(self, job: Job, queue_position: int | None, base: str, more: Headers) -> ReadyResponse:
        id, at = job.id.encode(), f'"{instant(job.created_at)}"'.encode()
        position = b"null" if queue_position is None else b"%d" % queue_position
        body = self._body % self._in_body((id, at, b'"queuePosition":%b' % position))
        rest = "".join([f"{name}: {value}\r\n" for name, value in more.items()]) if more else ""
        length = f"{rest}Content-Length: {len(body)}".encode("ascii")
        return ReadyResponse(202, self._head % self._in_head((id, base.encode("ascii"), length)), body)


def _with_places(text: bytes, values: Sequence[bytes]) -> tuple[bytes, Callable[[Sequence[bytes]], Any]]:
    """A format with a place wherever `text` has one of the values; and what puts their successors in its order."""
    places = re.compile(b"|".join(map(re.escape, values)))
    order = [values.index(value) for value in places.findall(text)]
    return places.sub(b"%b", text.replace(b"%", b"%%")), itemgetter(*order)


def fits_template(job: Job) -> bool:
    """Whether the job, as it was queued, differs from others of its type in its id and times only."""
    return job.label is None and job.retry_of is None and job.run_at is job.created_at and not job.metadata


class AcceptedResponses:
    """Makes the responses to accepted submissions."""

    def __init__(self, registry: Registry, links: Links) -> None:
        self._registry = registry
        self._links = links
        self._templates: dict[tuple[str, int], _Template] = {}
        registry.when_changed(self._templates.clear)

    def headers(self, job: Job, links: Links | None = None) -> dict[str, str]:
        """Where to look; without `Operation-Location`, which is absolute, and so differs between requests."""
        return {
            "Location": self.location(job, links),
            **PRIVATE,
        }

    def location(self, job: Job | NewJob, links: Links | None = None) -> str:
        """The job's URL. For a type with `on_complete="redirect"`, it leads on to the result."""
        job_type = self._registry.get(job.type)
        return (links or self._links).job(job, redirect=job_type is not None and job_type.on_complete == "redirect")

    def fill(self, job: Job, queue_position: int | None, absolute: Links, more: Headers) -> ReadyResponse:
        """The response for a job for which `fits_template` is true, with `more` headers."""
        kind = (job.type, job.max_attempts)
        template = self._templates.get(kind) or self._make(kind, job)
        return template.response(job, queue_position, absolute.base, more)

    def _make(self, kind: tuple[str, int], job: Job) -> _Template:
        job = job._replace(id=ANY_ID, created_at=EPOCH, run_at=EPOCH, updated_at=EPOCH)
        body = to_json(job_fields(job, None, self._links))
        operation = {"Operation-Location": Links(ANY_BASE).operation(job)}
        headers = self.headers(job) | operation | {"Retry-After": str(poll_after_s(job))}
        self._templates[kind] = template = _Template(body, headers)
        return template
