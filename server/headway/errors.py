"""The errors that Headway's rooms raise for each other. One small tree; `web.problems` maps it to HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


class HeadwayError(Exception):
    """The base of all errors that Headway raises on purpose."""


class SetupError(HeadwayError):
    """The server cannot start as asked. The message is one line that says what to do."""


class DirectoryOwnedError(SetupError):
    """Another server owns the data directory."""


class JobTypeError(HeadwayError):
    """A handler's declaration is wrong: raised by `@job` while the author's module is imported."""


class RetryLaterError(HeadwayError):
    """Refused for the moment. `retry_after_s`: whole seconds after which another try is worthwhile."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class JobNotFoundError(HeadwayError):
    """No such job for this caller: unknown, expired, purged, or another owner's."""


class JobStateError(HeadwayError):
    """The job's state does not allow what was asked (cancelling a completed job, say)."""


class EditedMeanwhileError(HeadwayError):
    """The job was edited since the client read the tag that its change is for."""


class JobGoneError(HeadwayError):
    """The job that was submitted with this idempotency key has been deleted, and the key still stands for it."""


class JobTypeNotFoundError(HeadwayError):
    """No job type has this name."""


class JobTypeUnavailableError(HeadwayError):
    """The job type cannot run on this server. The message is the author's reason."""


class InvalidError(HeadwayError):
    """What was asked for is not valid. `errors` are pairs of a JSON pointer (RFC 6901) and what is wrong there."""

    def __init__(self, errors: Sequence[tuple[str, str]], message: str | None = None) -> None:
        super().__init__(message or errors[0][1])
        self.errors = errors


class KeyReusedError(HeadwayError):
    """The idempotency key belongs to another request."""


class NotFinishedError(RetryLaterError):
    """The job has not ended, so it has no result yet."""


class JobHasFailedError(HeadwayError):
    """The job has failed, so it has no result. `error`: why, as the job's representation shows it."""

    def __init__(self, title: str | None, error: Mapping[str, Any] | None) -> None:
        super().__init__(title or "The job failed.")
        self.error = error


class ResultGoneError(HeadwayError):
    """There is no result, and there will be none: the job was cancelled, or its output was deleted."""


class InvalidOutputError(HeadwayError):
    """What the handler left as output cannot be published, and no retry would change that. `detail`: what to do."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(title)
        self.detail = detail


class OutputNotFoundError(HeadwayError):
    """The job has no such output file."""


class UploadNotFoundError(HeadwayError):
    """No such upload for this caller: unknown, expired, taken by a job, or another owner's."""


class UploadOffsetError(HeadwayError):
    """The part does not begin where the upload ends. `offset`: where that is."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"The upload has {offset:,} bytes: send what follows these.")
        self.offset = offset


class UploadTakenOverError(HeadwayError):
    """Another request came for the same upload, so this one's part ends with what has arrived."""


class NotAllowedError(HeadwayError):
    """The caller's key does not allow this."""


class DeliveryNotFoundError(HeadwayError):
    """The job's webhook has no such delivery."""


class SecretRevealedError(HeadwayError):
    """The secret was given out before. It is shown once."""


class TooManySecretsError(HeadwayError):
    """As many secrets sign the owner's deliveries as may."""


class ResourceNotFoundError(HeadwayError):
    """The author's function knows no such resource."""


class ResourceTimeoutError(RetryLaterError):
    """The author's function took too long."""


class QueueFullError(RetryLaterError):
    """The queue holds as many jobs as it may."""


class OwnerQueueFullError(QueueFullError):
    """One owner has as many jobs in the queue as they may; there is room for those of others."""


class QuotaExceededError(HeadwayError):
    """An owner, or a key, keeps or queues as many jobs as its quota allows.

    `holder` is whose quota it is (`owner` or `key`), `quota` what it limits, `limit` and `used` how full it is.
    """

    def __init__(self, holder: str, quota: str, limit: int, used: int, *, retry_after_s: int | None = None) -> None:
        whose = "This key's" if holder == "key" else "The owner's"
        super().__init__(f"{whose} quota of {limit:,} {_COUNTED[quota]} is used up: {used:,} are {_USED[quota]}.")
        self.holder = holder
        self.quota = quota
        self.limit = limit
        self.used = used
        self.retry_after_s = retry_after_s


_COUNTED = {"jobs": "jobs", "queued": "queued jobs", "bytes": "bytes"}
_USED = {"jobs": "kept", "queued": "queued", "bytes": "used, and this needs more"}


class StorageQuotaExceededError(QuotaExceededError):
    """What is to be stored does not fit into the quota of bytes."""


class DiskFullError(RetryLaterError):
    """Less space is free on the disk than the server keeps free."""


class UploadSpaceError(DiskFullError):
    """The disk has no room for the upload. What has arrived is kept."""


class UploadBusyError(RetryLaterError):
    """Another request has held the upload for long."""


class TooManyUploadsError(RetryLaterError):
    """The owner has as many uploads as they may that no job has taken."""


class StoppingError(RetryLaterError):
    """The server is stopping and takes no more work."""


class TooManyStreamsError(RetryLaterError):
    """A limit on open streams is reached: the server's, or one client's."""


class TooManyWaitsError(RetryLaterError):
    """A limit on waiting requests is reached: the server's, or one client's."""


class NotReadyError(RetryLaterError):
    """A part of the server does not do its work. The message says which one, and why."""


class KeyNameTakenError(HeadwayError):
    """An API key that is in force has this name."""


class KeyNotFoundError(HeadwayError):
    """No API key that is in force has this name."""


class UrlRefusedError(HeadwayError):
    """The server sends nothing to this URL. The message tells the client what is wrong with it, never what is in it."""


class StoreUnavailableError(HeadwayError):
    """The store cannot write now (full, locked, I/O error): nothing of the operation was recorded."""


class ClaimLostError(HeadwayError):
    """The attempt is no longer the job's current one, so what it wrote was dropped."""


class LeaseLostError(HeadwayError):
    """The worker's lease has ended, or never was: what it sent was dropped, and it should stop."""


def is_error_status(status: object) -> TypeGuard[int]:
    """Whether it is an HTTP status that says that something failed."""
    return isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599  # noqa: PLR2004 - RFC 9110


class JobFailed(Exception):  # noqa: N818 - the word that a job's author writes
    """Raised by a handler: the job has failed, and no retry would fix it.

    `title` says what happened in a few words, `detail` what the reader can do about it; both are shown to
    clients. `status` is an HTTP status (400-599) that classifies the failure, as in RFC 9457, and `type` a
    stable slug that programs can test. Raises `ValueError` for any other status.
    """

    def __init__(self, title: str, *, detail: str | None = None, status: int = 422, type: str = "job-failed") -> None:
        super().__init__(title)
        if not is_error_status(status):
            raise ValueError(f"status must be an HTTP status from 400 to 599, not {status!r}")
        self.title = title
        self.detail = detail
        self.status = status
        self.type = type


class JobCancelled(BaseException):
    """Raised inside a `def` handler whose job is cancelled, so that its `finally` blocks run.

    A BaseException, as `asyncio.CancelledError` is: a handler's `except Exception` must not swallow it.
    """
