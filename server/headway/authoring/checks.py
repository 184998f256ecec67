"""Checks of what a job type declares. Each raises `JobTypeError`, which names the type."""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

from ..errors import JobTypeError
from .attempt_limits import check_limits
from .job_types import JobType

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_NAME_CHARS = 64
_RESERVED = frozenset({"progress", "stats", "batch", "actions"})  # the server's own paths below /jobs


def is_type_name(name: str) -> bool:
    """Whether a job type could be called so."""
    return _NAME.fullmatch(name) is not None and len(name) <= _MAX_NAME_CHARS and name not in _RESERVED


def check_name(name: object) -> None:
    if not isinstance(name, str):  # the decorator without its parentheses, most likely
        raise JobTypeError('@job takes the name of the job type: @job("name")')
    if name in _RESERVED:
        raise JobTypeError(f"{name!r} cannot be the name of a job type: /jobs/{name} is the server's own path")
    if not is_type_name(name):
        raise JobTypeError(f"{name!r} cannot be the name of a job type: use lower-case words joined by hyphens")


def check_counts(name: str, **counts: int | None) -> None:
    for what, count in counts.items():
        if count is not None and count < 1:
            raise JobTypeError(f"{name}: {what} must be at least 1")


def check_durations(name: str, *, retain_s: float | None, **limits: float | None) -> None:
    for what, limit_s in limits.items():
        if limit_s is not None and not 0 < limit_s < math.inf:
            raise JobTypeError(f"{name}: {what} must be a number of seconds above 0, or None for no limit")
    if retain_s is not None and not 0 <= retain_s < math.inf:
        raise JobTypeError(f"{name}: retain_s must be a number of seconds, 0 or more")


def check_interrupts(name: str, on_interrupt: str, max_recoveries: int | None) -> None:
    if on_interrupt not in ("requeue", "fail"):
        raise JobTypeError(f"{name}: on_interrupt must be 'requeue' or 'fail'")
    if max_recoveries is not None and max_recoveries < 0:
        raise JobTypeError(f"{name}: max_recoveries must be at least 0")


def check_kept(name: str, handler: Callable[..., Any], kept: bool, max_jobs: int | None, max_mib: float | None) -> None:
    if kept and inspect.iscoroutinefunction(handler):
        raise JobTypeError(f"{name}: keep_process is for def handlers: an async def runs in the server's process")
    if not kept and (max_jobs is not None or max_mib is not None):
        raise JobTypeError(f"{name}: max_jobs_per_process and max_mib_per_process need keep_process=True")
    check_counts(name, max_jobs_per_process=max_jobs)
    if max_mib is not None and not 0 < max_mib < math.inf:
        raise JobTypeError(f"{name}: max_mib_per_process must be a number of MiB above 0, or None for no limit")


def check_no_retry(name: str, no_retry: object) -> None:
    listed = no_retry if isinstance(no_retry, tuple) else (None,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in listed):
        raise JobTypeError(f"{name}: no_retry must be a tuple of exception classes")


def check_webhook_url(name: str, url: object) -> None:
    """Check its form. Whether the server may send there depends on its settings, and is checked when it starts."""
    if url is not None and not (isinstance(url, str) and re.match(r"https?://[^/?#]", url, re.IGNORECASE)):
        raise JobTypeError(f"{name}: webhook_url must be an http(s) URL or None")


def check_type(job_type: JobType) -> None:
    """Check what types of every kind declare."""
    name = job_type.name
    check_counts(
        name, max_attempts=job_type.max_attempts, concurrency=job_type.concurrency, max_queued=job_type.max_queued
    )
    check_durations(
        name, timeout_s=job_type.timeout_s, stall_timeout_s=job_type.stall_timeout_s, retain_s=job_type.retain_s
    )
    check_interrupts(name, job_type.on_interrupt, job_type.max_recoveries)
    check_limits(name, job_type.handler, job_type.limits)
    check_webhook_url(name, job_type.webhook_url)
