"""Responses that are cached as bytes: head and body are encoded once and sent in one write.

What aiohttp does for each response (a multidict of headers, a signal before it is sent, the head as text) costs about
as much as the rest of a poll. A ready response leaves it out. So it contains the headers of every response itself, and
serves only requests over a kept HTTP/1.1 connection that do not come from a page of another origin, whose response
needs a header more.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, Self

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from ...domain.jobs import Job
from ..connections.slow_readers import LARGE_BYTES, SLOW_READERS
from ..request_ids import request_id_bytes

RESOURCE_POLICY = "Cross-Origin-Resource-Policy"
"""Which sites' pages may show the response, as an image for example. No page of another, unless it says otherwise."""

ON_EVERY_ANSWER: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    RESOURCE_POLICY: "same-origin",
    "Server": "Headway",
}

CSP = "Content-Security-Policy"
CSP_OF_DATA = "default-src 'none'; frame-ancestors 'none'"
"""For every response without its own policy: data loads nothing, and is shown in no frame."""

READY_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_POST})
"""Not `HEAD`, whose response has no body."""

KEPT_BYTES = 16 * 1024 * 1024
KEPT_BYTES_EACH = 64 * 1024


class ReadyAnswer(NamedTuple):
    """The cached response for one version of a job, and its 304. Each head ends before the date."""

    version: int
    queue_position: int | None
    etag: str
    status: int
    head: bytes
    body: bytes
    head_304: bytes

    @classmethod
    def make(cls, job: Job, queue_position: int | None, body: bytes, headers: Mapping[str, str]) -> Self:
        """Create it from the parts of an ordinary response; `headers` are those that do not depend on the body."""
        status = 200 if job.terminal else 202
        return cls(
            version=job.version,
            queue_position=queue_position,
            etag=headers["ETag"],
            status=status,
            head=head_of_json(status, body, headers),
            body=body,
            head_304=_head(304, headers),
        )

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.body) + len(self.head_304)

    def response(self) -> "ReadyResponse":
        return ReadyResponse(self.status, self.head, self.body)

    def not_modified(self) -> "ReadyResponse":
        return ReadyResponse(304, self.head_304)


def ready_problem(response: web.Response) -> "ReadyResponse":
    """An error's response as HTTP/1.1, whatever version the request has; the last one of its connection."""
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {**response.headers, "Content-Type": response.content_type, "Connection": "close"}
    ready = ReadyResponse(response.status, head_of_json(response.status, body, headers), body)
    ready.force_close()
    return ready


def ready_json(status: int, body: bytes, headers: Mapping[str, str]) -> "ReadyResponse":
    """A response for one request. The values of `headers` must not come from a client."""
    return ReadyResponse(status, head_of_json(status, body, headers), body)


def head_of_json(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The head of a response with this body, up to the date. No value may come from a client."""
    return _head(status, {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))})


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    """A status line and headers (RFC 9112, 4 and 5), up to the date."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"{_status_line(status)}{''.join(lines)}{_ALWAYS}Date: ".encode("ascii")


@lru_cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


_ALWAYS = "".join(f"{name}: {value}\r\n" for name, value in {**ON_EVERY_ANSWER, CSP: CSP_OF_DATA}.items())


def harden(headers: CIMultiDict[str]) -> None:
    """Add the headers of every response. Only a badge has its own policy for other sites."""
    own = headers.get(RESOURCE_POLICY)
    headers.update(ON_EVERY_ANSWER)
    if own is not None:
        headers[RESOURCE_POLICY] = own
    headers.setdefault(CSP, CSP_OF_DATA)


def whole_answer(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole response as bytes, for when there is no request; `headers` describe the body."""
    head = _head(status, {**headers, "Content-Length": str(len(body))})
    return b"%s%s\r\n\r\n%s" % (head, _date.now(), body)


class ReadyAnswers:
    """The cached responses of the jobs that are polled; the oldest are evicted first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, ReadyAnswer] = OrderedDict()
        self._bytes = 0

    def get(self, job: Job, queue_position: int | None) -> ReadyAnswer | None:
        answer = self._kept.get(job.id)
        if answer is None or answer.version != job.version or answer.queue_position != queue_position:
            return None
        return answer

    def keep(self, job_id: str, answer: ReadyAnswer) -> None:
        if (older := self._kept.pop(job_id, None)) is not None:
            self._bytes -= older.size_bytes
        if answer.size_bytes > KEPT_BYTES_EACH:
            return
        self._kept[job_id] = answer
        self._bytes += answer.size_bytes
        while self._bytes > KEPT_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].size_bytes


def can_be_ready(request: web.Request) -> bool:
    """Whether a ready response serves this request as well as an ordinary one."""
    return (
        request.method in READY_METHODS
        and request.version == HttpVersion11
        and hdrs.ORIGIN not in request.headers
        and request.keep_alive
    )


class ReadyResponse(web.StreamResponse):
    """A response that is already bytes, with the methods that aiohttp expects of a response."""

    def __init__(self, status: int, head: bytes, body: bytes = b"") -> None:
        super().__init__(status=status)
        self._head = head
        self._body = body
        self._sent_bytes = 0

    @property
    def keep_alive(self) -> bool:
        return super().keep_alive is not False  # unless `force_close` was called

    @property
    def body_length(self) -> int:
        """The number of bytes sent, head included, as aiohttp counts."""
        return self._sent_bytes

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        id = request_id_bytes(request)
        answer = b"%s%s\r\nX-Request-ID: %s\r\n\r\n%s" % (self._head, _date.now(), id, self._body)
        self._sent_bytes = len(answer)
        if len(answer) > LARGE_BYTES and isinstance(request, web.Request):
            with request.app[SLOW_READERS].watching(request.transport):
                await request.writer.write(answer)
        else:
            await request.writer.write(answer)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        assert not data, "a ready answer is whole"  # noqa: S101


class _Date:
    """The header `Date`, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True).encode("ascii")
        return self._text


_date = _Date()
