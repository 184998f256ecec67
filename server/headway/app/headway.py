"""`Headway`: the server as an object, for programs that embed it, for tests and for the command line alike."""

import asyncio
import json
import logging
import math
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web
from pydantic import BaseModel

from ..authoring.loading import JobTypeSource
from ..domain.access import EVERY_OWNER, LOCAL_OWNER, Caller, is_name
from ..domain.audit import PROGRAM
from ..domain.jobs import Job
from ..errors import InvalidError
from ..logs import configure_logging
from ..operating.process_limits import fit_open_files
from ..running.failure_hook import OnFailure
from ..service.options import SubmitOptions
from ..service.submission import Submission
from ..settings import Settings, unknown_variables
from ..validation import as_json_object, validate
from .exiting import SHUTDOWN_WITHIN_S, exit_if_left
from .listening import ignore_warnings_about_clients, listening, stopped_by_signals
from .local_files import copy_into
from .preparing import Prepared, forked_keeper, registry_of
from .rooms import Rooms, opened

EMBEDDING_PROGRAM = Caller(LOCAL_OWNER, EVERY_OWNER, actor=PROGRAM)
"""The program that has the server in its hands sees the jobs of all owners."""
LONGEST_WAIT_S = 3600.0

log = structlog.get_logger(__name__)


def _unannounced(_address: str) -> None:
    """Do not announce the address."""


class Headway:
    """A server with its record, its engine and its HTTP side.

        async with Headway(Settings(data_dir="data"), job_types=[resize]) as server:
            job = await server.submit("resize", {"width": 200})
            job = await server.wait(job.id)

    Within the block jobs run, whether or not anything listens; a job that has not ended when the block ends goes on at
    the next start on the same data directory. Methods other than `serve` are for use within the block, in its event
    loop. They raise `HeadwayError`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        job_types: Iterable[JobTypeSource] | None = None,
        *,
        on_failure: OnFailure | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        """`job_types`: modules by name or path, or functions decorated with `@job`; by default `settings.jobs`, and the
        samples if there are none.

        `on_failure(job, exception)` is called once for every job that fails, apart from the job's slot; it may be
        `async`. `prepared` stands for settings and job types, and has been made by `app.preparing.prepare`. Raises
        `SetupError` if the job types cannot be loaded.
        """
        if prepared is None:
            settings = fit_open_files(settings or Settings())
            prepared = Prepared(settings, registry_of(settings, job_types), None)
        self._settings = prepared.settings
        self._registry = prepared.registry
        self._on_failure = on_failure
        self._keeper = prepared.keeper
        self._opened: Rooms | None = None
        self._stack = AsyncExitStack()

    def prepare(self) -> None:
        """Fork the process that the children of `def` handlers come from, while this one still can be forked.

        For a main program, once, before its event loop runs and before it starts a thread: children then share what it
        has imported. Otherwise job modules are imported once more, in a new interpreter. Enter the server afterwards.
        """
        self._keeper = forked_keeper(self._settings, self._registry)

    async def __aenter__(self) -> Self:
        """Open the data directory and begin to run jobs. Raises `SetupError`."""
        if self._opened is not None:
            raise RuntimeError("the server is open already")
        if not structlog.is_configured() and not logging.getLogger().handlers:  # the embedding program's choice wins
            configure_logging(self._settings.log_format)
        _warn_of_unknown_variables()
        async with AsyncExitStack() as stack:
            keeper, self._keeper = self._keeper, None
            self._opened = await stack.enter_async_context(
                opened(self._settings, self._registry, self._on_failure, keeper)
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop running jobs, interrupted ones go on at the next start, and close the data directory."""
        self._begin_to_stop()
        try:
            await self._stack.__aexit__(kind, error, traceback)
        finally:
            self._opened = None

    async def submit(  # noqa: PLR0913 - options, each with a name
        self,
        type: str,
        input: Mapping[str, Any] | BaseModel | None = None,
        *,
        files: Mapping[str, str | PathLike[str]] | None = None,
        label: str | None = None,
        priority: int = 0,
        run_at: datetime | None = None,
        timeout_s: float | None = None,
        retain_s: float | None = None,
        webhook_url: str | None = None,
        webhook_events: Sequence[str] = (),
        idempotency_key: str | None = None,
        owner: str = LOCAL_OWNER,
    ) -> Job:
        """Submit a job: queued and durable on return.

        `files` are the paths of its uploads by field; they are copied, up to `max_upload_bytes` in all. With an
        `idempotency_key` that was used within the last 24 hours, the first job is returned. Raises `InvalidError`,
        whose `errors` say what is wrong and where, `JobTypeNotFoundError`, `QueueFullError` and others of `errors`.
        """
        if not is_name(owner):
            raise InvalidError([("/owner", "is not a valid name")])
        options = {
            "label": label,
            "priority": priority,
            "run_at": run_at,
            "timeout_seconds": timeout_s,
            "retain_seconds": retain_s,
            "webhook_url": webhook_url,
            "webhook_events": list(webhook_events),
        }
        submission = Submission(type, as_json_object(input or {}), validate(SubmitOptions, options, by_name=True))
        submitting = self._rooms.service.submitting
        caller = Caller(owner, EVERY_OWNER, actor=PROGRAM)
        if not files:
            return (await submitting.submit(caller, submission, idempotency_key)).job
        incoming = await asyncio.to_thread(submitting.new_incoming)
        try:
            paths = {field: Path(path) for field, path in files.items()}
            uploads, sums = await asyncio.to_thread(copy_into, incoming, paths, self._settings.max_upload_bytes)
            submission = submission._replace(uploads=uploads, incoming=incoming, sums=sums)
            return (await submitting.submit(caller, submission, idempotency_key)).job
        finally:
            await asyncio.to_thread(shutil.rmtree, incoming, True)

    async def get(self, job_id: str) -> Job:
        """The job now. Raises `JobNotFoundError`."""
        return await self._rooms.service.reading.job(EMBEDDING_PROGRAM, job_id)

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """The job once it has ended; otherwise as it is after `timeout_s` seconds. Raises `JobNotFoundError`."""
        loop, rooms = asyncio.get_running_loop(), self._rooms
        deadline_s = math.inf if timeout_s is None else loop.time() + timeout_s
        while True:
            wait_s = min(LONGEST_WAIT_S, max(0.0, deadline_s - loop.time()))
            job = await rooms.service.waiting.until(EMBEDDING_PROGRAM, job_id, wait_s)
            if job.terminal or loop.time() >= deadline_s or rooms.hub.closed:
                return job

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job now and after every published change, up to its end. A slow reader skips intermediate states.

        Raises `JobNotFoundError`, also if the job is deleted meanwhile.
        """
        rooms = self._rooms
        version = -1

        def is_news(job: Job) -> bool:
            return job.version > version

        while not rooms.hub.closed:
            job = await rooms.service.waiting.until(EMBEDDING_PROGRAM, job_id, LONGEST_WAIT_S, is_news)
            if is_news(job):
                version = job.version
                yield job
            if job.terminal:
                return

    async def result(self, job_id: str) -> Any:
        """What the handler returned. Raises `NotFinishedError`, `JobHasFailedError` and `ResultGoneError`."""
        service = self._rooms.service
        return json.loads(await service.results.value(await service.reading.job(EMBEDDING_PROGRAM, job_id)))

    async def cancel(self, job_id: str) -> Job:
        """Record a cancel. A running job stops in a moment: `wait` for it.

        Raises `JobNotFoundError`, and `JobStateError` for a job that completed or failed.
        """
        return await self._rooms.service.cancelling.cancel(EMBEDDING_PROGRAM, job_id)

    def app(self) -> web.Application:
        """The HTTP side, to be served by aiohttp's runners. There is one application per server."""
        return self._rooms.app

    async def serve(self, announce: Callable[[str], None] = _unannounced) -> None:
        """Listen on `settings.host` and `settings.port` until SIGTERM or SIGINT.

        Enters the server unless that has been done. `announce` is called with the address once it answers. For the main
        program: until it returns, it handles these signals, and a second one ends the process at once. It also ends the
        process if a handler does not stop, or the shutdown is stuck. Raises `SetupError`.
        """
        with stopped_by_signals(2 * self._settings.shutdown_grace_s + SHUTDOWN_WITHIN_S) as stop:
            if self._opened is not None:
                await self._serve(self._opened, announce, stop)
                return
            async with self:
                rooms = self._rooms
                await self._serve(rooms, announce, stop)
            exit_if_left(rooms.executor.abandoned)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen on `settings.host` and `settings.port` within the block, and leave signals to the program.

        The value is the address. Raises `SetupError`.
        """
        rooms = self._rooms
        async with listening(rooms, self._settings, rooms.registry) as address:
            rooms.commands.address = address
            try:
                yield address
            finally:
                self._begin_to_stop()

    async def _serve(self, rooms: Rooms, announce: Callable[[str], None], stop: asyncio.Event) -> None:
        ignore_warnings_about_clients()
        async with self.listening() as address:
            announce(address)
            job_types = len(list(rooms.registry))
            log.info("serving", address=address, data_dir=str(rooms.files.root), job_types=job_types)
            await stop.wait()
            log.info("stopping")

    def _begin_to_stop(self) -> None:
        """Take no more work, and end streams and waiting requests now, not after aiohttp's own time-outs."""
        if self._opened is not None:
            self._opened.service.admission.stopping = True
            self._opened.hub.close()

    @property
    def _rooms(self) -> Rooms:
        if self._opened is None:
            raise RuntimeError("the server is not open: use it within `async with`")
        return self._opened


def _warn_of_unknown_variables() -> None:
    for name, nearest in unknown_variables(os.environ):  # the value may be a secret
        log.warning("there is no such setting", variable=name, **({} if nearest is None else {"nearest": nearest}))
