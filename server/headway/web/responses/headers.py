"""Headers that describe a job's state."""

from ...domain.jobs import Job


def etag(job: Job) -> str:
    """Weak, because two responses for one version may differ in `queuePosition` (RFC 9110, 8.8.1)."""
    return f'W/"{job.version}"'
