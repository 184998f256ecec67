"""Headers about a job's state: its entity tag, and when another poll is worth it."""

from math import ceil

from ...domain.jobs import Job

MAX_RETRY_AFTER_S = 10


def etag(job: Job) -> str:
    """Weak: two answers of one version may differ in `queuePosition` (RFC 9110, 8.8.1)."""
    return f'W/"{job.version}"'


def retry_after_s(job: Job) -> int:
    """Whole seconds after which another poll is worth it: a quarter of what is left, 1 to 10."""
    eta_s = job.progress.eta_s
    return 1 if eta_s is None else min(max(1, ceil(eta_s / 4)), MAX_RETRY_AFTER_S)
