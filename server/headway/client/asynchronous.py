"""`AsyncClient`: the twin of `blocking.py` for asyncio, with the same words."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Self, TypeVar, Unpack, overload

from .bars import BarKind, bar_of, show_event
from .calls import Calls, check_completed
from .connection.downloads import download, make_folder, place_of, replacing
from .connection.requests import job_path
from .connection.server_urls import key_headers, server_url
from .connection.session import Session
from .connection.transport import AsyncTransport
from .errors import ClientError
from .events import Event
from .handles import JobHandle, ResultT
from .inputs import Filters, JobEdit, RetryChanges, SubmitOptions
from .mapping import CONCURRENCY, Outcome, Task, check_concurrency, in_tasks, tasks
from .results import UNTYPED, returned_by
from .states import JobState, LogLine, OutputFile

InputT = TypeVar("InputT")
ModelT = TypeVar("ModelT")


class AsyncFiles:
    """The output files of a job. Iterating reads their list from the server."""

    def __init__(self, calls: Calls, job_id: str) -> None:
        self._calls, self._job_id = calls, job_id

    def __aiter__(self) -> AsyncIterator[OutputFile]:
        return self._calls.files(self._job_id)

    async def read(self, name: str) -> bytes:
        """The content of one. Raises `NotFoundError`."""
        return await self._calls.file_bytes(self._job_id, name)

    async def download(self, name: str, to: str | os.PathLike[str] | None = None) -> Path:
        """Write one to a path, into a folder, or into the working directory. Returns its path."""
        return await self._download(job_path(self._job_id, "files", name), place_of(name, to))

    async def download_all(self, to: str | os.PathLike[str]) -> list[Path]:
        """Write all of them into a folder, which is made if it is missing. Returns their paths."""
        make_folder(to)
        return [await self.download(file.name, to) async for file in self]

    async def download_zip(self, to: str | os.PathLike[str]) -> Path:
        """Write all of them into one ZIP file. Returns its path."""
        return await self._download(job_path(self._job_id, "files.zip"), place_of(f"{self._job_id}.zip", to))

    async def _download(self, path: str, to: Path) -> Path:
        with replacing(to) as file:
            await download(self._calls.session, path, file)
        return to


class AsyncJob(JobHandle[ResultT]):
    """A job on a server, as `AsyncClient` gives it out."""

    async def refresh(self) -> JobState:
        """Read the job again. Raises `NotFoundError` once it is deleted."""
        return self._see(await self._calls.read(self.id))

    async def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait until the job has ended, however. Raises `WaitTimeoutError`."""
        if self._moves_by_waiting(timeout_s):
            async for _ in self.events():
                pass
        return self._see(await self._calls.wait(self.state, timeout_s))

    async def watch(self, bar: BarKind = "rich") -> JobState:
        """Show a bar, with the log above it, until the job has ended.

        `"rich"` needs nothing more; `"tqdm"` is a widget in a notebook. Raises what `events` raises.
        """
        with bar_of(bar, self.state) as shown:
            async with aclosing(self.events()) as events:
                async for event in events:
                    show_event(shown, event)
        return self.state

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens to the job until it has ended: states, and lines of its log.

        Cut connections and restarts of the server are survived; no line is missed. Raises `GoneError` if the job is
        deleted meanwhile.
        """
        async with aclosing(self._calls.events(self.id)) as events:
            async for event in events:
                yield self._see_event(event)

    def logs(self, *, after: int = 0, follow: bool = False) -> AsyncGenerator[LogLine, None]:
        """The log behind the line `after`, oldest first; with `follow` until the job has ended."""
        return self._calls.logs(self.id, after=after, follow=follow)

    def attempts(self) -> AsyncGenerator[dict[str, Any], None]:
        """Each time that the job was started, oldest first."""
        return self._calls.attempts(self.id)

    @overload
    async def result(self, *, timeout_s: float | None = None) -> ResultT: ...

    @overload
    async def result(self, model: type[ModelT], *, timeout_s: float | None = None) -> ModelT: ...

    async def result(self, model: Any = None, *, timeout_s: float | None = None) -> Any:
        """Wait for the end, and return what the job returned.

        It is an instance of `model`, any type that pydantic knows; or of what the submitted function is annotated to
        return; or plain JSON. Raises `JobFailedError`, `JobCancelledError`, `WaitTimeoutError`, `GoneError` if the
        output was deleted, and `pydantic.ValidationError`.
        """
        ended = await self.wait(timeout_s)
        return await self._calls.result(ended, self._model if model is None else model)

    async def result_bytes(self, *, timeout_s: float | None = None) -> bytes:
        """The same as JSON text."""
        ended = await self.wait(timeout_s)
        return await self._calls.result_bytes(ended)

    async def save_result(self, to: str | os.PathLike[str], *, timeout_s: float | None = None) -> Path:
        """Write the JSON text to a file, however large it is. Returns its path."""
        check_completed(await self.wait(timeout_s))
        with replacing(path := place_of("result.json", to)) as file:
            await download(self._calls.session, job_path(self.id, "result"), file)
        return path

    @property
    def files(self) -> AsyncFiles:
        """The output files."""
        return AsyncFiles(self._calls, self.id)

    async def cancel(self) -> JobState:
        """Cancel the job; the state says whether it has stopped already. Raises `ConflictError` if it ended before."""
        return self._see(await self._calls.cancel(self.id))

    async def purge(self) -> None:
        """Cancel the job if it has not ended, and delete it with its log, files and result."""
        await self._calls.purge(self.id)

    async def delete_result(self) -> None:
        """Delete the result and the output files, and keep the record. Raises `ConflictError` before the end."""
        await self._calls.delete_result(self.id)

    async def retry(self, **changes: Unpack[RetryChanges]) -> "AsyncJob[ResultT]":
        """A new job with the same input and files, but for the changes. Raises `ConflictError` before the end."""
        return AsyncJob(self._calls, await self._calls.retry(self.id, changes), self._model)

    async def edit(self, **changes: Unpack[JobEdit]) -> JobState:
        """Change what was given with the submission."""
        return self._see(await self._calls.edit(self.id, changes))

    def _keep_displayed(self) -> None:
        self._following = asyncio.get_running_loop().create_task(self._follow())  # the loop holds tasks weakly

    async def _follow(self) -> None:
        with suppress(ClientError):
            async for _ in self.events():
                pass


class AsyncClient:
    """A client of one server. Tasks may share it; it keeps connections open until it is closed.

        async with AsyncClient("https://jobs.example.com", "hwk_…") as client:
            job = await client.submit("resize", {"width": 640}, files={"archive": "pictures.zip"})
            print(await job.result())

    By default the URL is `HEADWAY_URL`, or that of a server on this machine, and the key `HEADWAY_API_KEY`. A request
    that gets no response, or is refused for now (429, 503), is sent again for `retry_for_s` seconds.

    Calls raise `ProblemError` and its subclasses if the server refuses, `ServerUnreachableError`, `ClientClosedError`.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, retry_for_s: float = 60.0) -> None:
        self.url = server_url(url)
        self._transport = AsyncTransport(self.url, key_headers(api_key))
        self._calls = Calls(Session(self._transport, retry_for_s))

    def __repr__(self) -> str:
        return f"<AsyncClient {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. What is under way in other tasks ends with `ClientClosedError`."""
        await self._transport.close()

    @overload
    async def submit(self, job_type: str, input: Any = None, **options: Unpack[SubmitOptions]) -> AsyncJob[Any]: ...

    @overload
    async def submit(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], Coroutine[Any, Any, ResultT]],
        input: InputT,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob[ResultT]: ...

    @overload
    async def submit(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], ResultT],
        input: InputT,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob[ResultT]: ...

    @overload
    async def submit(
        self, job_type: Callable[[InputT], ResultT], input: InputT, **options: Unpack[SubmitOptions]
    ) -> AsyncJob[ResultT]: ...

    @overload
    async def submit(
        self, job_type: Callable[[Any], Coroutine[Any, Any, ResultT]], **options: Unpack[SubmitOptions]
    ) -> AsyncJob[ResultT]: ...

    @overload
    async def submit(
        self, job_type: Callable[[Any], ResultT], **options: Unpack[SubmitOptions]
    ) -> AsyncJob[ResultT]: ...

    @overload
    async def submit(self, job_type: Callable[[], ResultT], **options: Unpack[SubmitOptions]) -> AsyncJob[ResultT]: ...

    async def submit(
        self, job_type: str | Callable[..., Any], input: Any = None, **options: Unpack[SubmitOptions]
    ) -> AsyncJob[Any]:
        """Submit a job of the type with this name, or of the type that a function declares.

        `input` is a pydantic model or a mapping. Fields of the type `headway.Upload` are sent as files. The job is
        submitted once, however often the request has to be sent.
        """
        state = await self._calls.submit(job_type, input, options)
        return AsyncJob(self._calls, state, returned_by(job_type))

    @overload
    def map(
        self,
        job_type: str,
        inputs: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGenerator[Outcome[AsyncJob[Any], Any], None]: ...

    @overload
    def map(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], Coroutine[Any, Any, ResultT]],
        inputs: Iterable[InputT],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGenerator[Outcome[AsyncJob[ResultT], ResultT], None]: ...

    @overload
    def map(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], ResultT],
        inputs: Iterable[InputT],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGenerator[Outcome[AsyncJob[ResultT], ResultT], None]: ...

    @overload
    def map(
        self,
        job_type: Callable[[InputT], ResultT],
        inputs: Iterable[InputT],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGenerator[Outcome[AsyncJob[ResultT], ResultT], None]: ...

    def map(
        self,
        job_type: str | Callable[..., Any],
        inputs: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGenerator[Outcome[AsyncJob[Any], Any], None]:
        """A job for each input, at most `concurrency` in progress at a time; yields each `Outcome` as it ends.

        Inputs are taken when there is room for them. An input that is refused, or whose job fails, is an outcome with
        an `error`. With an `idempotency_key` of your own, the same call again finds the jobs that it has submitted.
        An open file cannot be shared: give `files` by path or as bytes. Leaving the loop early submits nothing more;
        jobs that are in progress go on.
        """
        check_concurrency(concurrency)
        model = returned_by(job_type)

        async def perform(task: Task) -> Outcome[AsyncJob[Any], Any]:
            return await task.perform(self._calls, lambda state: AsyncJob(self._calls, state, model))

        return in_tasks(perform, tasks(job_type, inputs, options, model), concurrency)

    async def get(self, job_id: str) -> AsyncJob[Any]:
        """A job by its id. Raises `NotFoundError`."""
        return AsyncJob(self._calls, await self._calls.read(job_id), UNTYPED)

    async def jobs(
        self, *, limit: int | None = None, **filters: Unpack[Filters]
    ) -> AsyncGenerator[AsyncJob[Any], None]:
        """The jobs that match, newest first unless `sort` says otherwise; pages are read as they are needed."""
        async with aclosing(self._calls.jobs(filters, limit)) as states:
            async for state in states:
                yield AsyncJob(self._calls, state, UNTYPED)

    async def types(self) -> list[dict[str, Any]]:
        """The job types with their schemas."""
        types: list[dict[str, Any]] = (await self._calls.json("/job-types"))["jobTypes"]
        return types

    async def stats(self) -> dict[str, Any]:
        """How many jobs there are, by status and by type."""
        stats: dict[str, Any] = await self._calls.json("/jobs/stats")
        return stats

    async def usage(self) -> dict[str, Any]:
        """The quotas, and how full they are."""
        usage: dict[str, Any] = await self._calls.json("/usage")
        return usage

    async def whoami(self) -> dict[str, Any]:
        """Whether a key is needed, and whose this client's is: `keyNeeded`, `name`, `owner`, `admin`, `readOnly`."""
        session: dict[str, Any] = await self._calls.json("/session")
        return session
