"""`Client`: for programs with threads, scripts and notebooks. `asynchronous.py` is its twin for asyncio."""

import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Self, TypeVar, Unpack, overload

from .bars import BarKind, bar_of, show_event
from .calls import Calls, check_completed
from .connection.downloads import download, make_folder, place_of, replacing
from .connection.requests import job_path
from .connection.server_urls import key_headers, server_url
from .connection.session import Session
from .connection.transport import BlockingTransport, iterate, run
from .errors import ClientError
from .events import Event
from .handles import JobHandle, ResultT
from .inputs import Filters, JobEdit, RetryChanges, SubmitOptions
from .mapping import CONCURRENCY, Outcome, Task, check_concurrency, in_threads, tasks
from .results import UNTYPED, returned_by
from .states import JobState, LogLine, OutputFile

InputT = TypeVar("InputT")
ModelT = TypeVar("ModelT")


class Files:
    """The output files of a job. Iterating reads their list from the server."""

    def __init__(self, calls: Calls, job_id: str) -> None:
        self._calls, self._job_id = calls, job_id

    def __iter__(self) -> Iterator[OutputFile]:
        return iterate(self._calls.files(self._job_id))

    def read(self, name: str) -> bytes:
        """The content of one. Raises `NotFoundError`."""
        return run(self._calls.file_bytes(self._job_id, name))

    def download(self, name: str, to: str | os.PathLike[str] | None = None) -> Path:
        """Write one to a path, into a folder, or into the working directory. Returns its path."""
        return self._download(job_path(self._job_id, "files", name), place_of(name, to))

    def download_all(self, to: str | os.PathLike[str]) -> list[Path]:
        """Write all of them into a folder, which is made if it is missing. Returns their paths."""
        make_folder(to)
        return [self.download(file.name, to) for file in self]

    def download_zip(self, to: str | os.PathLike[str]) -> Path:
        """Write all of them into one ZIP file. Returns its path."""
        return self._download(job_path(self._job_id, "files.zip"), place_of(f"{self._job_id}.zip", to))

    def _download(self, path: str, to: Path) -> Path:
        with replacing(to) as file:
            run(download(self._calls.session, path, file))
        return to


class Job(JobHandle[ResultT]):
    """A job on a server, as `Client` gives it out."""

    def refresh(self) -> JobState:
        """Read the job again. Raises `NotFoundError` once it is deleted."""
        return self._see(run(self._calls.read(self.id)))

    def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait until the job has ended, however. Raises `WaitTimeoutError`."""
        if self._moves_by_waiting(timeout_s):
            for _ in self.events():
                pass
        return self._see(run(self._calls.wait(self.state, timeout_s)))

    def watch(self, bar: BarKind = "rich") -> JobState:
        """Show a bar, with the log above it, until the job has ended.

        `"rich"` needs nothing more; `"tqdm"` is a widget in a notebook. Raises what `events` raises.
        """
        with bar_of(bar, self.state) as shown:
            for event in self.events():
                show_event(shown, event)
        return self.state

    def events(self) -> Iterator[Event]:
        """What happens to the job until it has ended: states, and lines of its log.

        Cut connections and restarts of the server are survived; no line is missed. Raises `GoneError` if the job is
        deleted meanwhile.
        """
        for event in iterate(self._calls.events(self.id)):
            yield self._see_event(event)

    def logs(self, *, after: int = 0, follow: bool = False) -> Iterator[LogLine]:
        """The log behind the line `after`, oldest first; with `follow` until the job has ended."""
        return iterate(self._calls.logs(self.id, after=after, follow=follow))

    def attempts(self) -> Iterator[dict[str, Any]]:
        """Each time that the job was started, oldest first."""
        return iterate(self._calls.attempts(self.id))

    @overload
    def result(self, *, timeout_s: float | None = None) -> ResultT: ...

    @overload
    def result(self, model: type[ModelT], *, timeout_s: float | None = None) -> ModelT: ...

    def result(self, model: Any = None, *, timeout_s: float | None = None) -> Any:
        """Wait for the end, and return what the job returned.

        It is an instance of `model`, any type that pydantic knows; or of what the submitted function is annotated to
        return; or plain JSON. Raises `JobFailedError`, `JobCancelledError`, `WaitTimeoutError`, `GoneError` if the
        output was deleted, and `pydantic.ValidationError`.
        """
        ended = self.wait(timeout_s)
        return run(self._calls.result(ended, self._model if model is None else model))

    def result_bytes(self, *, timeout_s: float | None = None) -> bytes:
        """The same as JSON text."""
        ended = self.wait(timeout_s)
        return run(self._calls.result_bytes(ended))

    def save_result(self, to: str | os.PathLike[str], *, timeout_s: float | None = None) -> Path:
        """Write the JSON text to a file, however large it is. Returns its path."""
        check_completed(self.wait(timeout_s))
        with replacing(path := place_of("result.json", to)) as file:
            run(download(self._calls.session, job_path(self.id, "result"), file))
        return path

    @property
    def files(self) -> Files:
        """The output files."""
        return Files(self._calls, self.id)

    def cancel(self) -> JobState:
        """Cancel the job; the state says whether it has stopped already. Raises `ConflictError` if it ended before."""
        return self._see(run(self._calls.cancel(self.id)))

    def purge(self) -> None:
        """Cancel the job if it has not ended, and delete it with its log, files and result."""
        run(self._calls.purge(self.id))

    def delete_result(self) -> None:
        """Delete the result and the output files, and keep the record. Raises `ConflictError` before the end."""
        run(self._calls.delete_result(self.id))

    def retry(self, **changes: Unpack[RetryChanges]) -> "Job[ResultT]":
        """A new job with the same input and files, but for the changes. Raises `ConflictError` before the end."""
        return Job(self._calls, run(self._calls.retry(self.id, changes)), self._model)

    def edit(self, **changes: Unpack[JobEdit]) -> JobState:
        """Change what was given with the submission."""
        return self._see(run(self._calls.edit(self.id, changes)))

    def _keep_displayed(self) -> None:
        threading.Thread(target=self._follow, name="headway-bar", daemon=True).start()

    def _follow(self) -> None:
        with suppress(ClientError):
            for _ in self.events():
                pass


class Client:
    """A client of one server. Threads may share it; it keeps connections open until it is closed.

        with Client("https://jobs.example.com", "hwk_…") as client:
            job = client.submit("resize", {"width": 640}, files={"archive": "pictures.zip"})
            print(job.result())

    By default the URL is `HEADWAY_URL`, or that of a server on this machine, and the key `HEADWAY_API_KEY`. A request
    that gets no response, or is refused for now (429, 503), is sent again for `retry_for_s` seconds.

    Calls raise `ProblemError` and its subclasses if the server refuses, `ServerUnreachableError`, `ClientClosedError`.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, retry_for_s: float = 60.0) -> None:
        self.url = server_url(url)
        self._transport = BlockingTransport(self.url, key_headers(api_key))
        self._retry_for_s = retry_for_s
        self._calls = Calls(Session(self._transport, retry_for_s))

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. What is under way in other threads ends with `ClientClosedError`."""
        run(self._transport.close())

    @overload
    def submit(self, job_type: str, input: Any = None, **options: Unpack[SubmitOptions]) -> Job[Any]: ...

    @overload
    def submit(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], Coroutine[Any, Any, ResultT]],
        input: InputT,
        **options: Unpack[SubmitOptions],
    ) -> Job[ResultT]: ...

    @overload
    def submit(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], ResultT],
        input: InputT,
        **options: Unpack[SubmitOptions],
    ) -> Job[ResultT]: ...

    @overload
    def submit(
        self, job_type: Callable[[InputT], ResultT], input: InputT, **options: Unpack[SubmitOptions]
    ) -> Job[ResultT]: ...

    @overload
    def submit(
        self, job_type: Callable[[Any], Coroutine[Any, Any, ResultT]], **options: Unpack[SubmitOptions]
    ) -> Job[ResultT]: ...

    @overload
    def submit(self, job_type: Callable[[Any], ResultT], **options: Unpack[SubmitOptions]) -> Job[ResultT]: ...

    @overload
    def submit(self, job_type: Callable[[], ResultT], **options: Unpack[SubmitOptions]) -> Job[ResultT]: ...

    def submit(
        self, job_type: str | Callable[..., Any], input: Any = None, **options: Unpack[SubmitOptions]
    ) -> Job[Any]:
        """Submit a job of the type with this name, or of the type that a function declares.

        `input` is a pydantic model or a mapping. Fields of the type `headway.Upload` are sent as files. The job is
        submitted once, however often the request has to be sent.
        """
        state = run(self._calls.submit(job_type, input, options))
        return Job(self._calls, state, returned_by(job_type))

    @overload
    def map(
        self,
        job_type: str,
        inputs: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Outcome[Job[Any], Any]]: ...

    @overload
    def map(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], Coroutine[Any, Any, ResultT]],
        inputs: Iterable[InputT],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Outcome[Job[ResultT], ResultT]]: ...

    @overload
    def map(
        self,
        job_type: Callable[Concatenate[Any, InputT, ...], ResultT],
        inputs: Iterable[InputT],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Outcome[Job[ResultT], ResultT]]: ...

    @overload
    def map(
        self,
        job_type: Callable[[InputT], ResultT],
        inputs: Iterable[InputT],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Outcome[Job[ResultT], ResultT]]: ...

    def map(
        self,
        job_type: str | Callable[..., Any],
        inputs: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Outcome[Job[Any], Any]]:
        """A job for each input, at most `concurrency` in progress at a time; yields each `Outcome` as it ends.

        Inputs are taken when there is room for them. An input that is refused, or whose job fails, is an outcome with
        an `error`. With an `idempotency_key` of your own, the same call again finds the jobs that it has submitted.
        An open file cannot be shared: give `files` by path or as bytes. Leaving the loop early submits nothing more;
        jobs that are in progress go on.
        """
        check_concurrency(concurrency)
        model = returned_by(job_type)
        return self._mapped(tasks(job_type, inputs, options, model), model, concurrency)

    def _mapped(self, tasks: Iterator[Task], model: Any, concurrency: int) -> Iterator[Outcome[Job[Any], Any]]:
        # With connections of its own, which can be closed at its end: that ends the threads.
        transport = self._transport.again()
        calls = Calls(Session(transport, self._retry_for_s))

        def perform(task: Task) -> Outcome[Job[Any], Any]:
            return run(task.perform(calls, lambda state: Job(self._calls, state, model)))

        try:
            yield from in_threads(perform, tasks, concurrency)
        finally:
            run(transport.close())

    def get(self, job_id: str) -> Job[Any]:
        """A job by its id. Raises `NotFoundError`."""
        return Job(self._calls, run(self._calls.read(job_id)), UNTYPED)

    def jobs(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[Job[Any]]:
        """The jobs that match, newest first unless `sort` says otherwise; pages are read as they are needed."""
        for state in iterate(self._calls.jobs(filters, limit)):
            yield Job(self._calls, state, UNTYPED)

    def types(self) -> list[dict[str, Any]]:
        """The job types with their schemas."""
        types: list[dict[str, Any]] = run(self._calls.json("/job-types"))["jobTypes"]
        return types

    def stats(self) -> dict[str, Any]:
        """How many jobs there are, by status and by type."""
        stats: dict[str, Any] = run(self._calls.json("/jobs/stats"))
        return stats

    def usage(self) -> dict[str, Any]:
        """The quotas, and how full they are."""
        usage: dict[str, Any] = run(self._calls.json("/usage"))
        return usage

    def whoami(self) -> dict[str, Any]:
        """Whether a key is needed, and whose this client's is: `keyNeeded`, `name`, `owner`, `admin`, `readOnly`."""
        session: dict[str, Any] = run(self._calls.json("/session"))
        return session
