"""What a client raises: one class for each kind of problem (RFC 9457), and for each end of a job but its completion."""

from time import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from .states import JobError, JobState


class ClientError(Exception):
    """The base of everything that a client raises on purpose."""


class ServerUnreachableError(ClientError):
    """No response: the server is down, out of reach, or too slow. It was tried again for `retry_for_s` seconds."""


class ClientClosedError(ClientError):
    """The client was closed, before the request or while it was under way."""


class WaitTimeoutError(ClientError, TimeoutError):
    """The job has not ended in the time that was given. It goes on; `state` is its last known state."""

    def __init__(self, state: "JobState") -> None:
        super().__init__(f"job {state.id} is still {state.status}")
        self.state = state


class JobFailedError(ClientError):
    """The job has failed. `error` says why, `state` is the whole job."""

    def __init__(self, state: "JobState", error: "JobError") -> None:
        super().__init__(f"{error.title}: {error.detail}" if error.detail else error.title)
        self.state = state
        self.error = error


class JobCancelledError(ClientError):
    """The job was cancelled, so there is no result."""

    def __init__(self, state: "JobState") -> None:
        super().__init__(f"job {state.id} was cancelled")
        self.state = state


class ProblemError(ClientError):
    """The server refused a request.

    `type` is the problem's slug, such as `not-found`, or empty if the response is none of Headway's; `status` the HTTP
    status; `detail` a text for people; `errors` what is wrong with the input, as pairs of a JSON pointer (RFC 6901) and
    a text; `problem` the whole object; `retry_after_s` when another try is worthwhile; `request_id` what the server's
    log has. `repeated`: the request had been sent before, and that response was lost.
    """

    repeated = False

    def __init__(self, status: int, problem: dict[str, Any], *, retry_after_s: float | None, request_id: str) -> None:
        self.status = status
        self.problem = problem
        self.type = slug_of(problem)
        self.title = str(problem.get("title") or f"HTTP status {status}")
        self.detail: str | None = problem.get("detail")
        errors = problem.get("errors") or ()
        self.errors = [(str(each.get("pointer")), str(each.get("detail"))) for each in errors]
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        wrong = "; ".join(f"{pointer}: {detail}" if pointer else detail for pointer, detail in self.errors)
        super().__init__(f"{self.title}: {wrong or self.detail}" if wrong or self.detail else self.title)


class MalformedRequestError(ProblemError):
    """400: the request cannot be read."""


class UnauthorizedError(ProblemError):
    """401: there is no API key, or one that is not known or was revoked."""


class ForbiddenError(ProblemError):
    """403: this key may not do that."""


class NotFoundError(ProblemError):
    """404: no such job or type, or a job that has expired or is another owner's."""


class ConflictError(ProblemError):
    """409: the job's state does not allow it."""


class NotFinishedError(ConflictError):
    """409: the job has no result yet."""


class GoneError(ProblemError):
    """410: the job or its output was deleted."""


class PreconditionFailedError(ProblemError):
    """412: it was changed meanwhile."""


class TooLargeError(ProblemError):
    """413: a body or a file over its limit."""


class ValidationFailedError(ProblemError):
    """422: the input or an option is not valid; `errors` says where."""


class IdempotencyKeyReusedError(ProblemError):
    """422: the idempotency key was used for another submission."""


class TooManyRequestsError(ProblemError):
    """429: too many requests, streams or waits."""


class QuotaExceededError(ProblemError):
    """429 or 507: a quota is used up; `problem` says which, and how full it is."""


class ServerError(ProblemError):
    """5xx: an error in the server, or in a proxy in front of it."""


class UnavailableError(ServerError):
    """503 or 507: there is no room now, or nothing can be recorded now."""


class JobTypeUnavailableError(UnavailableError):
    """503: the type cannot run on this server; `detail` says why."""


class ResultFailedError(ProblemError):
    """The result of a failed job was asked for. `Job.result` raises `JobFailedError` instead."""


BY_TYPE: dict[str, type[ProblemError]] = {
    "conflict": ConflictError,
    "disk-full": UnavailableError,
    "gone": GoneError,
    "idempotency-key-reused": IdempotencyKeyReusedError,
    "job-failed": ResultFailedError,
    "job-type-unavailable": JobTypeUnavailableError,
    "not-finished": NotFinishedError,
    "not-found": NotFoundError,
    "quota-exceeded": QuotaExceededError,
    "storage-quota-exceeded": QuotaExceededError,
    "validation-failed": ValidationFailedError,
}
"""By the problem's type, where the status alone does not tell."""

BY_STATUS: dict[int, type[ProblemError]] = {
    400: MalformedRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    412: PreconditionFailedError,
    413: TooLargeError,
    422: ValidationFailedError,
    429: TooManyRequestsError,
    503: UnavailableError,
    507: UnavailableError,
}

_LOWEST_OF_SERVERS = 500


def problem_in(response: "httpx.Response") -> ProblemError:
    """The error that a response reports. Its body has been read; it need not be a problem, or JSON at all."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": f"HTTP status {response.status_code} {response.reason_phrase}".rstrip()}
    status = response.status_code
    other = ServerError if status >= _LOWEST_OF_SERVERS else ProblemError
    cls = BY_TYPE.get(slug_of(problem)) or BY_STATUS.get(status, other)
    request_id = response.headers.get("X-Request-ID", "")
    return cls(status, problem, retry_after_s=retry_after_s(response), request_id=request_id)


def json_in(response: "httpx.Response", *names: str) -> Any:
    """The JSON object of a response, with at least these fields. Raises `ProblemError` if it is none of Headway's."""
    try:
        fields = response.json()
    except ValueError:
        fields = None
    if isinstance(fields, dict) and all(name in fields for name in names):
        return fields
    detail = f"The response of {response.url.host} is not the expected JSON: is it a Headway server?"
    problem = {"title": "Not a response of Headway", "status": response.status_code, "detail": detail}
    raise ProblemError(response.status_code, problem, retry_after_s=None, request_id="")


def slug_of(problem: dict[str, Any]) -> str:
    """The last segment of `/problems/not-found`; empty if the object has no such type."""
    _, known, slug = str(problem.get("type") or "").rpartition("/problems/")
    return slug if known else ""


def retry_after_s(response: "httpx.Response") -> float | None:
    """`Retry-After` in seconds, which proxies also write as a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    if not value:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - hardly anybody sends a date

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None
