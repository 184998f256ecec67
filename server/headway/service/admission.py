"""Admission: whether the server takes a submission now. Checked before its body is read, and before it is stored."""

from ..authoring.job_types import JobType, Registry
from ..domain.access import Caller
from ..errors import DiskFullError, JobTypeNotFoundError, JobTypeUnavailableError, StoppingError
from ..ports.files import Uploads
from ..ports.jobs import Hold, Submissions

STOPPING_RETRY_S = 2
FULL_DISK_RETRY_S = 60
FREE_SPACE_MAX_AGE_S = 0.1


class Admission:
    """What is checked here costs next to nothing, so that a refusal is cheap."""

    def __init__(self, store: Submissions, files: Uploads, registry: Registry, *, min_free_bytes: int) -> None:
        self._store = store
        self._files = files
        self._registry = registry
        self._min_free_bytes = min_free_bytes
        self.stopping = False
        """Whether the server has begun to stop. Set once, when it does."""

    def check(self, caller: Caller, type_name: str, size_bytes: int = 0, kept_bytes: int = 0) -> JobType:
        """The job type, if a submission of `size_bytes`, of which `kept_bytes` or more are kept, would be accepted now.

        Raises `StoppingError`, `JobTypeNotFoundError`, `JobTypeUnavailableError`, `DiskFullError`, `QueueFullError` and
        `QuotaExceededError`.
        """
        job_type = self.job_type(type_name)
        self.check_space(size_bytes, FREE_SPACE_MAX_AGE_S)
        self._store.check_room(caller.owner, type_name, job_type.max_queued, caller.key_id, kept_bytes)
        return job_type

    def hold(self, caller: Caller) -> Hold:
        """Room in the caller's quotas for an upload that is under way, none at first. To be released at its end."""
        return self._store.hold(caller.owner, caller.key_id)

    def check_running(self) -> None:
        """Raises `StoppingError` once the server has begun to stop."""
        if self.stopping:
            raise StoppingError("Try again when the server is back.", STOPPING_RETRY_S)

    def job_type(self, name: str) -> JobType:
        """The job type, if the server takes jobs and the type can run here. Raises like `check`."""
        self.check_running()
        job_type = self._registry.get(name)
        if job_type is None:
            raise JobTypeNotFoundError(name)
        reason = job_type.unavailable()
        if reason is not None:
            raise JobTypeUnavailableError(reason)
        return job_type

    def check_space(self, more_bytes: int, max_age_s: float = 0.0) -> None:
        """Raises `DiskFullError` if `more_bytes` would leave less space than is kept free.

        The free space may have been read up to `max_age_s` seconds ago.
        """
        if self._min_free_bytes and self._files.free_bytes(max_age_s) - more_bytes < self._min_free_bytes:
            detail = f"The server keeps {self._min_free_bytes:,} bytes of its disk free."
            raise DiskFullError(detail, FULL_DISK_RETRY_S)
