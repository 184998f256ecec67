"""What the tests of `running` share: attempts of made-up jobs, and fakes of the ports that engine and executor take."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from headway.authoring.declaring import declared_as
from headway.authoring.job_types import Registry
from headway.clock import utc_now
from headway.domain.attempts import Usage
from headway.domain.ids import JobIds
from headway.domain.jobs import Claim, Job, NewLogLine, OutputFile, Status
from headway.domain.outcomes import Cancelled, Completed, Failed, Outcome
from headway.domain.progress import Progress
from headway.errors import JobNotFoundError
from headway.files.measuring import tree_bytes
from headway.ports.files import AttemptFiles, Directories, Published
from headway.ports.jobs import Claims, FreeSlots, LogBatch, Recovery, Tick
from headway.running.attempt import Attempt
from headway.running.engine import Store
from headway.running.limits import RunLimits
from typing_extensions import override

IDS = JobIds()
LIMITS = RunLimits(max_tasks=4, max_processes=4, max_recoveries=3, cancel_grace_s=5.0, tick_s=0.1)


def a_job(job_type: str = "a-job", **fields: Any) -> Job:
    """A job of which an attempt runs, its first unless `fields` say otherwise."""
    job_id, at = IDS.new(utc_now())
    common: dict[str, Any] = {
        "id": job_id,
        "owner": "local",
        "type": job_type,
        "created_at": at,
        "run_at": at,
        "updated_at": at,
        "progress": Progress(),
        "version": 1,
        "started_at": at,
        "retain_s": 60.0,
        "status": Status.RUNNING,
        "attempt": 1,
    }
    return Job(**common | fields)


def a_claim(job: Job | None = None, input_json: str = "{}", checkpoint_json: str | None = None) -> Claim:
    """What a claim of the job brings."""
    return Claim(job or a_job(), input_json, checkpoint_json)


def an_attempt(job: Job | None = None, input_json: str = "{}", checkpoint_json: str | None = None) -> Attempt:
    """An attempt as the engine makes it."""
    return Attempt(a_claim(job, input_json, checkpoint_json), None)


def registry_of(*handlers: Any) -> Registry:
    """The job types of decorated functions."""
    return Registry(declared_as(handler) for handler in handlers)


@dataclass(frozen=True)
class Finished:
    """One call of `FakeStore.finish`."""

    job: Job
    outcome: Outcome
    progress: Progress
    messages: list[str]
    usage: Usage | None = None


@dataclass
class FakeStore(Store):
    """A record in memory. What is put into a list of `raises` is raised by the next calls of that method."""

    queued: deque[Claim] = field(default_factory=deque)
    jobs: dict[str, Job] = field(default_factory=dict)
    recovery: Recovery = field(default_factory=lambda: Recovery([], []))
    next_run_at: datetime | None = None
    raises: dict[str, list[Exception]] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    flushes: int = 0
    flushes_wanted: int = 0
    """At how many calls of `flush` it is too early for all but the last."""
    lines: list[str] = field(default_factory=list)
    recovered_with: tuple[Mapping[str, int], int] | None = None
    """The limits that `recover` was called with: by type, and of the other types."""
    asked_for: list[Sequence[FreeSlots]] = field(default_factory=list)
    """What `claim` was called with."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every call that changes something."""

    def hold_output(self, job: Job, size_bytes: int) -> None:
        """There are no quotas."""

    def enqueue(self, *jobs: Job) -> None:
        """Let the next claims bring these jobs."""
        for job in jobs:
            self.queued.append(a_claim(job))
            self.jobs[job.id] = job

    @override
    async def recover(self, now: datetime, max_recoveries: int, by_type: Mapping[str, int] | None = None) -> Recovery:
        self.recovered_with = (by_type or {}, max_recoveries)
        return self.recovery

    @override
    async def claim(self, pools: Sequence[FreeSlots], now: datetime) -> Claims:
        self._begin("claim")
        self.asked_for.append(pools)
        claims = list[Claim]()
        for pool in pools:
            left, total = dict(pool.of_type), pool.total
            for claim in list(self.queued):
                if total > 0 and left.get(claim.job.type, 0) > 0:
                    total -= 1
                    left[claim.job.type] -= 1
                    self.queued.remove(claim)
                    claims.append(claim)
        return Claims(claims, self.next_run_at)

    @override
    async def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        self._begin("tick")
        self.ticks.extend(ticks)

    @override
    async def flush(self) -> float | None:
        """There is no disk: it only asks for another call, as often as the test wants."""
        self.flushes += 1
        return 0.0 if self.flushes < self.flushes_wanted else None

    @override
    async def append_logs(self, batches: Sequence[LogBatch]) -> None:
        self._begin("append_logs")
        self.lines.extend(line.message for batch in batches for line in batch.lines)

    @override
    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:
        self._begin("checkpoint")
        self.checkpoints.append(checkpoint_json)

    @override
    async def finish(
        self,
        job: Job,
        outcome: Outcome,
        progress: Progress,
        lines: Sequence[NewLogLine],
        now: datetime,
        usage: Usage | None = None,
    ) -> Job:
        self._begin("finish")
        self.finished.append(Finished(job, outcome, progress, [line.message for line in lines], usage))
        match outcome:
            case Completed(files=files):
                return job._replace(status=Status.COMPLETED, files=files)
            case Failed(error):
                return job._replace(status=Status.FAILED, error=error)
            case Cancelled():
                return job._replace(status=Status.CANCELLED)
            case _:
                return job._replace(status=Status.QUEUED)

    @override
    async def get(self, caller: str, job_id: str) -> Job:
        self._begin("get")
        if job_id not in self.jobs:
            raise JobNotFoundError(job_id)
        return self.jobs[job_id]

    @override
    def median_run_s(self, job_type: str) -> float | None:
        return None

    def _begin(self, method: str) -> None:
        self.changed.set()
        errors = self.raises.get(method)
        if errors:
            raise errors.pop(0)


@dataclass
class FakeFiles(AttemptFiles):
    """The files of running jobs, below a folder that the test gives. Nothing is written but by handlers."""

    root: Path
    inputs: dict[str, Path] = field(default_factory=dict)
    output: tuple[OutputFile, ...] = ()
    notes: tuple[str, ...] = ()
    has_files: bool = False
    publishing_fails: Exception | None = None
    calls: list[str] = field(default_factory=list)

    @override
    def directories(self, job: Job) -> Directories:
        return Directories(str(self.root / "work"), str(self.root / "output"), str(self.root / "data"))

    @override
    def input(self, job_id: str, field: str) -> Path:
        return self.inputs[field]

    @override
    def open_input(self, job_id: str, field: str) -> BinaryIO:
        return self.inputs[field].open("rb")

    @override
    def lock_file(self, job_id: str) -> Path:
        return self.root / "lock"

    @override
    def discard_lock(self, job_id: str) -> None:
        self.lock_file(job_id).unlink(missing_ok=True)

    @override
    def has_any(self, job_id: str) -> bool:
        return self.has_files

    @override
    def has_output(self, job: Job) -> bool:
        return bool(self.output or self.notes or self.publishing_fails)

    @override
    def written_bytes(self, job: Job) -> int:
        directories = self.directories(job)
        return tree_bytes(directories.work) + tree_bytes(directories.output)

    @override
    def publish_output(self, job: Job) -> Published:
        self.calls.append("publish output")
        if self.publishing_fails:
            raise self.publishing_fails
        return Published(self.output, self.notes)

    @override
    def discard_output(self, job: Job) -> None:
        self.calls.append("discard output")

    @override
    def add_output(self, job: Job, arrived: Path, name: str) -> None:
        self.calls.append(f"add {name}")

    @override
    def discard_work(self, job: Job) -> None:
        self.calls.append("discard work")
