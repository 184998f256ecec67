"""The attempt of one run, step by step: begin, perform or call, end."""

import asyncio
import bdb
import functools
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel
from pydantic_core import to_json
from typing_extensions import override

from ..authoring.capturing import capture_all, capturing
from ..authoring.contexts import BlockingContext
from ..authoring.declaring import declared_as
from ..authoring.job_types import Registry
from ..authoring.uploads import Upload
from ..clock import utc_now
from ..domain.access import LOCAL_OWNER
from ..domain.ids import JobIds
from ..domain.jobs import Claim, Job, NewJob, Status
from ..domain.outcomes import Completed, Failed, Retry
from ..files.data_directory import DataDirectory
from ..ports.files import Directories
from ..running.attempt import Attempt
from ..running.calling import End, Lost, NotBegun, Raised, call_blocking
from ..running.executor import Executor
from ..running.handler_tasks import containing
from ..running.limits import RunLimits
from ..running.processes.child.dependencies import Dependencies
from ..service.submission import Submission
from ..service.submitting import check_files, check_input, check_number
from .overriding import Overrides, overridden
from .ran import Folder, Ran, decoded
from .record import RunRecord
from .signs import GRACE_S, OnReport, Signs
from .uploading import place, without_uploads

LIMITS = RunLimits(max_tasks=1, max_processes=1, max_recoveries=0, cancel_grace_s=GRACE_S, tick_s=0.0)


class RunOptions(TypedDict, total=False):
    """How to run a handler."""

    after: Ran[Any]
    """An attempt of the same job that this one follows: with its checkpoint, its `work_dir` and its `data_dir`."""
    attempt: int
    """The number of the attempt; by default 1, or one more than that of `after`. Earlier ones count as failed."""
    checkpoint: Any
    """What `ctx.resumed` is to be."""
    overrides: Overrides
    """Values for dependencies by their factories: `{session: FakeSession()}`."""
    owner: str
    """The `ctx.owner`."""
    data_dir: str | PathLike[str]
    """The `ctx.data_dir`; by default an empty directory."""
    timeout_s: float
    """The time limit; by default the type's."""
    on_report: OnReport
    """Called with each report, while the handler waits: to look at it, or to move the clock."""
    cancel_when: OnReport
    """The job is cancelled at the first report for which this is true."""
    skip_sleeps: bool
    """Whether `asyncio.sleep` takes no time: the clock is moved to its end, or to a deadline. For `run` only."""
    interrupt_when: OnReport
    """The server stops at the first report for which this is true."""


class _Files(DataDirectory):
    """Files below a temporary directory, but for a `data_dir` that the test may have chosen."""

    data_dir: str | None = None

    @override
    def directories(self, job: Job) -> Directories:
        directories = super().directories(job)
        return directories if self.data_dir is None else replace(directories, data=self.data_dir)


class Run:
    """One run of a handler. `begin` and `end` are for an event loop, and so is `perform`; `call` is for none."""

    def __init__(
        self, handler: Callable[..., Any], input: BaseModel | Mapping[str, Any] | None, options: RunOptions
    ) -> None:
        """Raises `JobTypeError` and `ValueError` for a handler that cannot be run like this, `InvalidError` for a wrong
        input.
        """
        unknown = options.keys() - RunOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"run() has no option {min(unknown)!r}")
        job_type = declared_as(handler)
        if job_type.is_remote:
            raise ValueError(f"{job_type.name} is done by workers elsewhere: there is no handler to run")
        self._options = options
        self._after = options.get("after")
        self._job_type = overridden(replace(job_type, handler=self._noting(handler)), options.get("overrides", {}))
        self._fields, self._uploads = without_uploads(job_type, input)
        if self._after is not None and not self._uploads:
            self._uploads = dict(self._after._uploads)  # noqa: SLF001 - of this package
        self._folder = Folder() if self._after is None else self._after._folder  # noqa: SLF001
        self._data_dir = str(Path(options["data_dir"]).resolve()) if "data_dir" in options else None
        self._record = RunRecord()
        self._value: Any = None
        self._end: End | Lost | NotBegun
        self._run_s = 0.0

    @property
    def is_async(self) -> bool:
        return self._job_type.is_async

    async def begin(self) -> None:
        """Submit and claim the job."""
        self._files = _Files.open(str(self._folder.path))
        try:
            self._files.data_dir = self._data_dir
            claim = self._claim()
        except BaseException:
            self._files.close()
            raise
        self._attempt = Attempt(claim, None)
        self._executor = Executor(self._record, Registry([self._job_type]), self._files, LIMITS)
        self._signs = Signs(
            self._attempt,
            self._record,
            self._job_type.stall_timeout_s,
            on_report=self._options.get("on_report"),
            cancel_when=self._options.get("cancel_when"),
            interrupt_when=self._options.get("interrupt_when"),
        )

    async def perform(self) -> None:
        """Run an `async def` handler."""
        began_s = time.monotonic()
        with capturing(), containing():
            self._end = await self._executor.perform(self._attempt, self._job_type)
            await self._executor.close()
        self._run_s = time.monotonic() - began_s

    def call(self) -> None:
        """Run a `def` handler."""
        began_s = time.monotonic()
        job, claim, dependencies = self._attempt.job, self._attempt.claim, Dependencies()
        context = BlockingContext(
            job_id=job.id,
            attempt=job.attempt,
            owner=job.owner,
            directories=self._files.directories(job),
            reported=self._attempt.reported,
            logs=self._attempt.logs,
            checkpoint_json=claim.checkpoint_json,
            sync_checkpoint=self._checkpoint,
            nudge=self._signs.reported,
        )
        self._signs.stop_blocking(context)
        uploads = self._inputs(job)
        with capturing(), capture_all(self._attempt.logs):
            self._end = call_blocking(
                self._job_type, context, claim.input_json, uploads, self._attempt.began, dependencies.get
            )
            self._signs.end()
            for failed in dependencies.clean_up():
                self._attempt.logs.note("warning", f"cleaning up {failed.factory} failed: {failed.reason}")
        self._run_s = time.monotonic() - began_s

    async def end(self) -> Ran[Any]:
        """Record the end."""
        try:
            self._signs.end()
            self._raise_what_is_not_the_handlers()
            await self._executor.conclude(self._attempt, self._job_type, self._end, self._run_s)
        finally:
            self._files.close()
        return self._ran()

    # The job

    def _claim(self) -> Claim:
        job, input_json = self._submitted()
        options, after = self._options, self._after
        attempt = options.get("attempt", 1 if after is None else after.attempt + 1)
        failures = attempt - 1 if after is None else after._job.failures  # noqa: SLF001
        checkpoint = options.get("checkpoint", None if after is None else after.checkpoint)
        job = job._replace(
            status=Status.RUNNING,
            attempt=attempt,
            failures=failures,
            started_at=job.created_at,
            timeout_s=options.get("timeout_s", job.timeout_s),
        )
        return Claim(job, input_json, None if checkpoint is None else to_json(checkpoint).decode())

    def _submitted(self) -> tuple[Job, str]:
        """The job, and its input as canonical JSON. Raises `InvalidError`."""
        incoming = Path(tempfile.mkdtemp(dir=self._folder.path))
        uploads = place(self._uploads, incoming)
        submission = Submission(self._job_type.name, self._fields, uploads=uploads, incoming=incoming)
        input_json = to_json(submission.fields)
        check_number(self._job_type, submission)
        check_files(self._job_type, submission)
        check_input(self._job_type, input_json, submission)
        job_id, created_at = JobIds().new(utc_now())
        if self._after is not None:
            job_id = self._after.job_id
        elif uploads:
            self._files.accept_incoming(incoming, job_id)
        new = NewJob(
            id=job_id,
            owner=self._options.get("owner", LOCAL_OWNER),
            type=self._job_type.name,
            input_json=input_json.decode(),
            created_at=created_at,
            run_at=created_at,
            retain_s=self._job_type.retain_s or 0.0,
            max_attempts=self._job_type.max_attempts,
            timeout_s=self._job_type.timeout_s,
            uploads=tuple(uploads.values()),
        )
        return Job.queued(new), new.input_json

    def _inputs(self, job: Job) -> dict[str, Upload]:
        return {
            file.field: Upload(self._files.input(job.id, file.field), file.filename, file.content_type, file.size_bytes)
            for file in job.uploads
        }

    # The handler

    def _noting(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """The handler, but what it returns is kept as it is."""

        @functools.wraps(handler)
        def call(*arguments: Any, **named: Any) -> Any:
            self._value = handler(*arguments, **named)
            return self._value

        @functools.wraps(handler)
        async def call_async(*arguments: Any, **named: Any) -> Any:
            self._value = await handler(*arguments, **named)
            return self._value

        return call_async if asyncio.iscoroutinefunction(handler) else call

    def _checkpoint(self, checkpoint_json: str) -> None:
        self._attempt.began()
        self._record.checkpoints.append(checkpoint_json)
        self._signs.check()

    def look_again(self) -> None:
        """The clock has been moved."""
        self._signs.check()

    # The end

    def _raise_what_is_not_the_handlers(self) -> None:
        """What the test's functions raised, and what is to end the test: Ctrl-C, `pytest.fail`, a debugger's quit."""
        if self._signs.failure is not None:
            raise self._signs.failure
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        raised = self._end.exception if isinstance(self._end, Raised) else None
        if (raised is not None and not isinstance(raised, Exception | SystemExit)) or isinstance(raised, bdb.BdbQuit):
            raise raised

    def _ran(self) -> Ran[Any]:
        record, job = self._record, self._record.job
        if job is None:
            raise RuntimeError("the attempt has no recorded end")
        outcome, checkpoints = record.outcome, decoded(record.checkpoints)
        resumed = None if (begun := self._attempt.claim.checkpoint_json) is None else json.loads(begun)
        files = self._files.job(job.id) / "files"
        completed = isinstance(outcome, Completed)
        return Ran(
            job_id=job.id,
            attempt=job.attempt,
            status=job.status,
            _error=outcome.error if isinstance(outcome, Failed | Retry) else None,
            exception=self._end.exception if isinstance(self._end, Raised) else None,
            json=json.loads(outcome.result_json) if isinstance(outcome, Completed) else None,
            progress=self._signs.progress,
            logs=[*self._signs.lines, *record.lines],
            files={file.name: files / file.name for file in job.files},
            checkpoints=checkpoints,
            checkpoint=checkpoints[-1] if checkpoints else resumed,
            result_url=job.result_url,
            data_dir=Path(self._files.directories(job).data),
            _value=self._value if completed else None,
            _job=job,
            _uploads=self._uploads,
            _folder=self._folder,
        )
