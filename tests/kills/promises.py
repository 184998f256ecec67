"""What the server has promised, as its clients saw it. A response that contradicts an earlier one breaks a promise."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.job_types.killed_jobs import Work
from tests.support.process import Reply
from tests.support.record import TERMINAL


@dataclass(eq=False)
class Order:
    """A submission or a retry as a client sends it, once or, with an idempotency key, again and again."""

    owner: str
    key_id: str
    type: str
    work: Work
    label: str
    query: Mapping[str, str]
    body: bytes
    content_type: str
    idempotency_key: str | None
    webhook: bool
    short: bool
    """Whether its job is deleted soon after its end."""
    retry_of: str | None = None
    job_id: str | None = None


@dataclass(eq=False)
class Promised:
    """A job that was accepted, and what has been seen of it."""

    order: Order
    job_id: str
    ended: tuple[Any, ...] | None = None
    """How, once somebody has seen its end: status, time, error."""
    cancelled: bool = False
    """A cancel was acknowledged."""
    may_be_cancelled: bool = False
    may_be_gone: bool = False
    """A deletion was sent, but not acknowledged."""
    gone: bool = False
    output_may_be_gone: bool = False
    output_gone: bool = False
    version: int = 0
    attempt: int = 0
    lines: dict[int, str] = field(default_factory=dict)
    files: tuple[tuple[str, int], ...] = ()

    @property
    def completed(self) -> bool:
        return self.ended is not None and self.ended[0] == "completed"


@dataclass(eq=False)
class Sent:
    """A request that would change something."""

    id: str
    action: Literal["submit", "retry", "cancel", "delete", "delete-result"]
    order: Order | None = None
    job_id: str | None = None
    answer: Literal["done", "nothing", "unknown"] = "unknown"
    """Whether it was carried out, or certainly was not."""


class Promises:
    """All of them, for all clients."""

    def __init__(self, diaries: Path) -> None:
        self._diaries = diaries
        self.jobs: dict[str, Promised] = {}
        self.orders: list[Order] = []
        self.sent: dict[str, Sent] = {}
        self.broken: list[str] = []
        self.checked: Counter[str] = Counter()
        self._lock = threading.RLock()

    def breach(self, what: str) -> None:
        self.broken.append(what)

    def expect(self, kept: object, what: str) -> None:
        """Count a promise that was checked."""
        self.checked["promises"] += 1
        if not kept:
            self.breach(what)

    # Requests that change something

    def sending(self, sent: Sent) -> Sent:
        with self._lock:
            self.sent[sent.id] = sent
            if sent.order is not None and sent.order not in self.orders[-1:]:
                self.orders.append(sent.order)
        return sent

    def accepted(self, sent: Sent, job_id: str, *, replayed: bool = False) -> Promised:
        """A 202, or the audit trail, says that the order has this job."""
        order = sent.order
        assert order is not None
        with self._lock:
            sent.answer = "nothing" if replayed else "done"
            sent.job_id = job_id
            if order.job_id is not None:
                self.expect(order.job_id == job_id, f"{order.label}: two jobs, {order.job_id} and {job_id}")
            order.job_id = job_id
            return self.jobs.setdefault(job_id, Promised(order, job_id))

    # What clients see

    def seen(self, job: Promised, shown: Mapping[str, Any], known_version: int) -> None:
        """A client has read the job. `known_version`: the newest that anybody knew before."""
        where = f"{job.job_id} ({job.order.type})"
        with self._lock:
            version, attempt = shown["version"], shown["attempt"]
            self.expect(version >= known_version, f"{where}: version {version} after {known_version}")
            job.version, job.attempt = max(job.version, version), max(job.attempt, attempt)
            if shown["status"] in TERMINAL:
                error = shown["error"] and (shown["error"]["type"], shown["error"]["title"])
                self.seen_end(job, (shown["status"], shown["completedAt"], attempt, error))
                files = tuple((file["name"], file["sizeBytes"]) for file in shown["files"])
                if job.completed and files:
                    self.expect(job.files in ((), files), f"{where}: files {files} after {job.files}")
                    job.files = files

    def seen_end(self, job: Promised, ended: tuple[Any, ...]) -> None:
        self.checked["ends seen"] += job.ended is None
        self.expect(job.ended in (None, ended), f"{job.job_id} ended as {job.ended}, and now as {ended}")
        job.ended = ended
        if job.cancelled:
            self.expect(ended[0] == "cancelled", f"{job.job_id} was cancelled, and ended as {ended}")

    def missing(self, job: Promised) -> None:
        """A client got a 404, or the record has no such job."""
        expired = job.order.short and (job.may_be_cancelled or job.attempt > 0 or self._has_begun(job))
        self.expect(
            job.gone or job.may_be_gone or expired,
            f"{job.job_id} is lost, nobody has deleted it: {job}",
        )

    def _has_begun(self, job: Promised) -> bool:
        return (self._diaries / job.job_id).exists()

    def unexpected(self, what: str, reply: Reply) -> None:
        self.breach(f"{what}: {reply.status} {reply.body[:300]!r}")
