"""What the server says of a job, as typed values. Fields that this version does not know are kept in `raw`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Self

Status = Literal["queued", "running", "completed", "failed", "cancelled"]

_ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Why a job failed, in RFC 9457's names: `type` is for programs, `title` and `detail` are for people."""

    type: str
    title: str
    detail: str | None
    status: int | None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        title = fields.get("title") or "The job failed"
        return cls(type=fields.get("type", ""), title=title, detail=fields.get("detail"), status=fields.get("status"))


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """An output file of a job."""

    name: str
    size_bytes: int
    content_type: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        return cls(name=fields["name"], size_bytes=fields["sizeBytes"], content_type=fields["contentType"])


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of a job's log. `seq` grows within the job."""

    seq: int
    at: datetime
    level: str
    message: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        at = datetime.fromisoformat(fields["at"])
        return cls(seq=fields["seq"], at=at, level=fields["level"], message=fields["message"])


@dataclass(frozen=True)
class JobState:
    """A job as the server showed it at one time. `progress` is percent; what has no value is `None`.

    `raw` is the JSON object itself. `input` and `result` are there only if the job was read by itself, not from a list
    or a stream, and `result` only up to 64 KiB.
    """

    raw: Mapping[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return f"<JobState {self.id} {self.type} {self.status} {self.progress}>"

    @property
    def id(self) -> str:
        return str(self.raw["jobId"])

    @property
    def type(self) -> str:
        return str(self.raw["type"])

    @property
    def status(self) -> Status:
        status: Status = self.raw["status"]
        return status

    @property
    def ended(self) -> bool:
        """Whether it has completed, failed or been cancelled: then nothing changes any more."""
        return self.status in _ENDED

    @property
    def version(self) -> int:
        """Grows with every change."""
        return int(self.raw["version"])

    @property
    def label(self) -> str | None:
        return self.raw.get("label")

    @property
    def progress(self) -> float | None:
        return self.raw.get("progress")

    @property
    def done(self) -> float | None:
        return self.raw.get("done")

    @property
    def total(self) -> float | None:
        return self.raw.get("total")

    @property
    def unit(self) -> str | None:
        return self.raw.get("unit")

    @property
    def message(self) -> str | None:
        return self.raw.get("message")

    @property
    def step(self) -> str | None:
        return self.raw.get("step")

    @property
    def rate_per_second(self) -> float | None:
        return self.raw.get("ratePerSecond")

    @property
    def eta_s(self) -> int | None:
        return self.raw.get("etaSeconds")

    @property
    def queue_position(self) -> int | None:
        return self.raw.get("queuePosition")

    @property
    def attempt(self) -> int:
        return int(self.raw.get("attempt") or 0)

    @property
    def max_attempts(self) -> int:
        return int(self.raw.get("maxAttempts") or 1)

    @property
    def cancel_requested(self) -> bool:
        return bool(self.raw.get("cancelRequested"))

    @property
    def created_at(self) -> datetime | None:
        return self._instant("createdAt")

    @property
    def run_at(self) -> datetime | None:
        return self._instant("runAt")

    @property
    def started_at(self) -> datetime | None:
        return self._instant("startedAt")

    @property
    def updated_at(self) -> datetime | None:
        return self._instant("updatedAt")

    @property
    def completed_at(self) -> datetime | None:
        return self._instant("completedAt")

    @property
    def expires_at(self) -> datetime | None:
        return self._instant("expiresAt")

    @cached_property
    def files(self) -> list[OutputFile]:
        """The first 100 of `files_total`."""
        return [OutputFile.of(each) for each in self.raw.get("files") or ()]

    @property
    def files_total(self) -> int:
        return int(self.raw.get("filesTotal") or 0)

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.raw.get("metadata") or {}

    @cached_property
    def error(self) -> JobError | None:
        error = self.raw.get("error")
        return None if error is None else JobError.of(error)

    @property
    def retry_of(self) -> str | None:
        return self.raw.get("retryOf")

    @property
    def edit_tag(self) -> str | None:
        return self.raw.get("editTag")

    @property
    def input(self) -> Any:
        return self.raw.get("input")

    @property
    def result(self) -> Any:
        return self.raw.get("result")

    def _instant(self, name: str) -> datetime | None:
        text = self.raw.get(name)
        return None if text is None else datetime.fromisoformat(text)
