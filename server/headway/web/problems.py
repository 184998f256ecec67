"""Errors as `application/problem+json` (RFC 9457), on every path."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from .. import errors
from ..errors import HeadwayError
from .connections.lingering import answer_and_linger
from .links import LINKS

KINDS: Mapping[str, tuple[int, str]] = {
    "malformed-request": (400, "The request cannot be read"),
    "unauthorized": (401, "Authentication is required"),
    "forbidden": (403, "Not allowed"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "body-timeout": (408, "The body did not arrive in time"),
    "head-timeout": (408, "The request did not arrive in time"),
    "not-finished": (409, "The job has not finished"),
    "too-many-secrets": (409, "Too many secrets sign at present"),
    "lease-lost": (409, "The lease has ended"),
    "conflict": (409, "The job's state does not allow this"),
    "mismatching-offset": (409, "The part does not begin where the upload ends"),
    "taken-over": (409, "Another request has taken the upload over"),
    "gone": (410, "The resource is gone"),
    "precondition-failed": (412, "A precondition failed"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The media type is not supported"),
    "range-not-satisfiable": (416, "The range cannot be satisfied"),
    "expectation-failed": (417, "The expectation cannot be met"),
    "misdirected": (421, "The request is for another server"),
    "idempotency-key-reused": (422, "The idempotency key was used for another request"),
    "validation-failed": (422, "The request is not valid"),
    "job-failed": (422, "The job failed"),
    "upload-busy": (423, "The upload is busy"),
    "too-many-requests": (429, "Too many requests"),
    "too-many-streams": (429, "Too many streams are open"),
    "quota-exceeded": (429, "A quota is used up"),
    "internal-error": (500, "Internal server error"),
    "too-many-waits": (429, "Too many requests are waiting"),
    "too-many-connections": (503, "Too many connections are open"),
    "queue-full": (503, "The queue is full"),
    "disk-full": (503, "The disk is full"),
    "storage-quota-exceeded": (507, "The storage quota is used up"),
    "insufficient-storage": (507, "The disk has no room for the upload"),
    "store-unavailable": (503, "The store cannot be written"),
    "not-ready": (503, "The server is not ready"),
    "stopping": (503, "The server is stopping"),
    "resource-timeout": (503, "The resource could not be read in time"),
    "job-type-unavailable": (503, "The job type cannot run on this server"),
    "http-error": (500, "The request could not be answered"),
}
"""Every problem type: its slug under `/problems/`, its status and title."""

ASKING_SOMETHING = frozenset({401, 405, 407, 426})
"""The statuses that name what else the client must do: send credentials, or use another method or protocol (RFC 9110,
15.5.2, 15.5.6, 15.5.8 and 15.5.22). The result of a failed job never has one: there is nothing to name.
"""
STORE_RETRY_AFTER_S = 5

RATE_LIMITS = web.RequestKey("rate_limits", dict[str, str])
"""In a request that a rate limit applies to: the headers that describe it."""

Endpoint = Callable[[web.Request], Awaitable[web.Response]]

KIND_BY_ERROR: Mapping[type[HeadwayError], str] = {
    errors.InvalidError: "validation-failed",
    errors.JobNotFoundError: "not-found",
    errors.JobTypeNotFoundError: "not-found",
    errors.OutputNotFoundError: "not-found",
    errors.DeliveryNotFoundError: "not-found",
    errors.ResourceNotFoundError: "not-found",
    errors.UploadNotFoundError: "not-found",
    errors.UploadOffsetError: "mismatching-offset",
    errors.UploadTakenOverError: "taken-over",
    errors.UploadBusyError: "upload-busy",
    errors.UploadSpaceError: "insufficient-storage",
    errors.TooManyUploadsError: "too-many-requests",
    errors.SecretRevealedError: "gone",
    errors.TooManySecretsError: "too-many-secrets",
    errors.JobStateError: "conflict",
    errors.EditedMeanwhileError: "precondition-failed",
    errors.NotFinishedError: "not-finished",
    errors.JobHasFailedError: "job-failed",
    errors.ResultGoneError: "gone",
    errors.JobGoneError: "gone",
    errors.KeyReusedError: "idempotency-key-reused",
    errors.JobTypeUnavailableError: "job-type-unavailable",
    errors.ResourceTimeoutError: "resource-timeout",
    errors.OwnerQueueFullError: "too-many-requests",
    errors.QueueFullError: "queue-full",
    errors.QuotaExceededError: "quota-exceeded",
    errors.StorageQuotaExceededError: "storage-quota-exceeded",
    errors.NotAllowedError: "forbidden",
    errors.DiskFullError: "disk-full",
    errors.StoppingError: "stopping",
    errors.TooManyStreamsError: "too-many-streams",
    errors.TooManyWaitsError: "too-many-waits",
    errors.StoreUnavailableError: "store-unavailable",
    errors.NotReadyError: "not-ready",
    errors.LeaseLostError: "lease-lost",
}
"""How each error of the other rooms is reported to clients. A class takes precedence over its base."""

DETAILS: Mapping[type[HeadwayError], str | None] = {
    errors.JobNotFoundError: "There is no such job.",
    errors.JobTypeNotFoundError: "There is no such job type; GET /job-types lists them.",
    errors.ResourceNotFoundError: None,
    errors.LeaseLostError: "Stop: the job is another worker's now, or has ended. What was sent is dropped.",
}
"""Details that replace the error's own text, which repeats what was asked for."""

_KIND_BY_STATUS = {
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}

log = structlog.get_logger(__name__)


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An error response. `errors` are pairs of a JSON pointer (RFC 6901) and what is wrong there."""

    def __init__(
        self,
        kind: str,
        detail: str | None = None,
        *,
        errors: Sequence[tuple[str, str]] = (),
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        status: int | None = None,
    ) -> None:
        """`status`: if it is not that of the kind."""
        super().__init__(kind)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, retry_after_s))
        self.extra = dict(extra or {})
        self.status = KINDS[kind][0] if status is None else status

    @property
    def text(self) -> str:
        """What happened, for people."""
        return self.detail or (self.errors[0][1] if self.errors else KINDS[self.kind][1])

    def members(self, request: web.Request) -> dict[str, Any]:
        """The object that reports it (RFC 9457, 3.1 and 3.2)."""
        members: dict[str, Any] = {
            "type": f"/problems/{self.kind}",
            "title": KINDS[self.kind][1],
            "status": self.status,
            "detail": self.detail or (self.errors[0][1] if self.errors else None),
            "instance": request.app[LINKS].to(request.rel_url.raw_path[:200]),
        }
        if self.errors:
            members["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return members | self.extra

    def response(self, request: web.Request) -> web.Response:
        members = self.members(request)
        return web.Response(
            status=self.status,
            body=json.dumps(members, ensure_ascii=False).encode("utf-8", "replace"),
            content_type="application/problem+json",
            headers={"Cache-Control": "no-store", **request.get(RATE_LIMITS, {}), **self.headers},
        )


CHALLENGE = 'Bearer realm="headway"'


def unauthorized(detail: str, *, error: str | None = None) -> Problem:
    """A 401 with its challenge; `error` is what was wrong with the token that was sent (RFC 6750, 3)."""
    challenge = CHALLENGE if error is None else f'{CHALLENGE}, error="{error}"'
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})


async def answer_to(request: web.Request, error: Exception) -> web.StreamResponse:
    """The response to an error that an endpoint raised. Unexpected ones are logged."""
    match error:
        case Problem() | HeadwayError():
            problem = as_problem(error)
            response = problem.response(request)
            if problem.kind == "stopping" and not request.content.is_eof():
                await answer_and_linger(request, response)
            return response
        case web.HTTPMethodNotAllowed() if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204, headers={hdrs.ALLOW: _allowed(error)})
        case web.HTTPException():
            if error.status < 400:  # noqa: PLR2004 - a redirect is an answer, not a problem
                raise error
            return _from_http(error, request)
        case ConnectionError():
            # The client is gone and sees no response; raised, this would be logged as an error of the server.
            return Problem("malformed-request", "The connection was lost.").response(request)
        case _:
            log.error("an endpoint failed", method=request.method, path=request.path[:200], exc_info=error)
            return Problem("internal-error", "The error is in the server's log.").response(request)


def also_saying(more: Callable[[Problem], Mapping[str, Any]]) -> Callable[[Endpoint], Endpoint]:
    """An endpoint whose problems have extra members (RFC 9457, 3.2), for clients that expect another error format."""

    def decorated(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def answer(request: web.Request) -> web.Response:
            try:
                return await endpoint(request)
            except (Problem, HeadwayError) as error:
                problem = as_problem(error)
                problem.extra |= more(problem)
                raise problem from None

        return answer

    return decorated


def as_problem(error: Problem | HeadwayError) -> Problem:
    """The problem that reports an error of the other rooms."""
    if isinstance(error, Problem):
        return error
    of_class = next((base for base in type(error).__mro__ if base in KIND_BY_ERROR), None)
    if of_class is None:
        log.error("an unexpected domain error", error=repr(error))
        return Problem("internal-error", "The error is in the server's log.")
    return Problem(
        KIND_BY_ERROR[of_class],
        DETAILS.get(of_class, str(error)),
        errors=error.errors if isinstance(error, errors.InvalidError) else (),
        retry_after_s=_retry_after_s(error),
        extra=_extra(error),
        status=_status_of_failure(error) if isinstance(error, errors.JobHasFailedError) else None,
    )


def _status_of_failure(failed: errors.JobHasFailedError) -> int | None:
    """The status of the job's error, if a response can have it; otherwise `None`."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR if failed.error is None else failed.error["status"]
    return status if errors.is_error_status(status) and status not in ASKING_SOMETHING else None


def _extra(error: HeadwayError) -> Mapping[str, Any] | None:
    """The problem's members beyond those of RFC 9457."""
    match error:
        case errors.JobHasFailedError():
            return {"jobError": error.error}
        case errors.UploadOffsetError():
            return {"offset": error.offset}
        case errors.QuotaExceededError():
            return {"quota": error.quota, "of": error.holder, "limit": error.limit, "used": error.used}
        case _:
            return None


def _retry_after_s(error: HeadwayError) -> int | None:
    match error:
        case errors.RetryLaterError() | errors.QuotaExceededError():
            return error.retry_after_s
        case errors.StoreUnavailableError():
            return STORE_RETRY_AFTER_S
        case _:
            return None


def _from_http(error: web.HTTPException, request: web.Request) -> web.Response:
    """An error that aiohttp raised: the router's 404 and 405, mostly."""
    headers = {"Allow": _allowed(error)} if isinstance(error, web.HTTPMethodNotAllowed) else None
    kind = _KIND_BY_STATUS.get(error.status, "http-error")
    return Problem(kind, error.reason, headers=headers, status=error.status).response(request)


def _allowed(error: web.HTTPMethodNotAllowed) -> str:
    """`OPTIONS` is allowed on every path: it answers what is."""
    return ",".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))


class ClientFaults(logging.Filter):
    """Drops log records in which aiohttp reports a client's fault as an error of the server.

    The client sent something malformed or disconnected; or a body was abandoned and aiohttp read on.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.exc_info[1] if record.exc_info else None
        of_clients = HttpProcessingError | web.RequestPayloadError | ConnectionError | Problem | HeadwayError
        return not isinstance(fault, of_clients)
