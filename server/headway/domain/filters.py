"""Which jobs a list or a stream shows."""

from dataclasses import dataclass
from datetime import datetime

from .jobs import Job, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list or a stream shows. An empty field does not restrict it."""

    statuses: frozenset[Status] = frozenset()
    types: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    label: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def matches(self, job: Job) -> bool:
        """Whether the list or stream shows this job."""
        return (
            (not self.statuses or job.status in self.statuses)
            and (not self.types or job.type in self.types)
            and (not self.ids or job.id in self.ids)
            and (self.label is None or job.label == self.label)
            and (self.created_after is None or job.created_at > self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
        )
