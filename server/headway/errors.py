"""The errors that Headway's rooms raise for each other. One small tree; `web.problems` maps it to HTTP."""


class HeadwayError(Exception):
    """The base of all errors that Headway raises on purpose."""


class SetupError(HeadwayError):
    """The server cannot start as asked. The message is one line that says what to do."""


class DirectoryOwnedError(SetupError):
    """Another server owns the data directory."""


class JobTypeError(HeadwayError):
    """A handler's declaration is wrong: raised by `@job` while the author's module is imported."""


class JobNotFoundError(HeadwayError):
    """No such job for this caller: unknown, expired, purged, or another owner's."""


class JobStateError(HeadwayError):
    """The job's state does not allow what was asked (cancelling a completed job, say)."""


class QueueFullError(HeadwayError):
    """The queue holds as many jobs as it may. `retry_after_s`: seconds until a place is likely."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OwnersShareUsedUpError(QueueFullError):
    """As many jobs of one owner wait as may; there is room for those of others."""


class TooManyStreamsError(HeadwayError):
    """As many streams are open as may be, in all or for one client. `retry_after_s`: when to try again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyWaitsError(HeadwayError):
    """As many requests wait as may, in all or for one client. `retry_after_s`: when to try again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyNameTakenError(HeadwayError):
    """An API key that is in force has this name."""


class KeyNotFoundError(HeadwayError):
    """No API key that is in force has this name."""


class UrlRefusedError(HeadwayError):
    """The server sends nothing to this URL. The message tells the client what is wrong with it, never what is in it."""


class StoreUnavailableError(HeadwayError):
    """The store cannot write now (full, locked, I/O error): nothing of the operation was recorded."""


class ClaimLostError(HeadwayError):
    """The attempt is not the job's current one any more, so what it wrote was dropped."""


class JobFailed(Exception):  # noqa: N818 - the word that a job's author writes
    """Raised by a handler: the job has failed, and no retry would mend it.

    `title` says what happened in a few words, `detail` what the reader can do about it; both are shown to
    clients. `status` is an HTTP status (400-599) that classifies the failure, as in RFC 9457, and `type` a
    stable slug that programs can test.
    """

    def __init__(self, title: str, *, detail: str | None = None, status: int = 422, type: str = "job-failed") -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.status = status
        self.type = type


class JobCancelled(BaseException):
    """Raised inside a `def` handler whose job is cancelled, so that its `finally` blocks run.

    A BaseException, as `asyncio.CancelledError` is: a handler's `except Exception` must not swallow it.
    """
