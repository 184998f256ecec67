"""What a handler can use: progress, log, checkpoints, directories, cancellation.

`Context` is for `async def` handlers, in the server's loop; `BlockingContext` for `def` handlers, in a process
of their own. Both only write to memory, from where the server takes reports at its own pace.
"""

import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sized
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json, to_json

from ..errors import JobCancelled
from ..limits import CHECKPOINT_BYTES, RESULT_URL_CHARS
from ..ports.files import Directories
from .reporting import LogBuffer, Reported, exact_number, exact_text

if TYPE_CHECKING:
    from asyncio.subprocess import Process

T = TypeVar("T")
STDERR_DESCRIPTOR = 2
_EXACT = (int, float)
"""What needs no `exact_number`, which takes its time: a handler may report a million times."""

_RESULT_URL = re.compile(r"(/(?!/)|https?://[\w.\[\]:-])[\w.~:/?#\[\]@!$&'()*+,;=%-]*", re.ASCII)
"""The characters of RFC 3986; not `//host` (4.2), which looks like a path but leads to another host."""

YIELD_AFTER_S = 0.005
"""How long `Context.track` lets a handler keep the loop between two items before it yields."""


class _JobContext:
    """The part that both contexts share. The server makes one for each attempt."""

    _nudge: Callable[[], None] | None = None
    """Called with every report, if set."""

    def __init__(
        self,
        *,
        job_id: str,
        attempt: int,
        owner: str,
        directories: Directories,
        reported: Reported,
        logs: LogBuffer,
        checkpoint_json: str | None,
    ) -> None:
        self.job_id = job_id
        """The job's id. Use it as the key of side effects, since a job may run more than once."""
        self.attempt = attempt
        """The number of this attempt; the first is 1."""
        self.owner = owner
        """The owner of the job: the `caller` of a resource's functions."""
        self.resumed: Any = None if checkpoint_json is None else from_json(checkpoint_json)
        """The last checkpoint of an earlier attempt, or `None`."""
        self._directories = directories
        self._reported = reported
        self._logs = logs
        self._cancelled = False
        self.has_directories = False
        """Whether the handler has asked for one of its directories: they are made then. For the server."""
        self._result_url: str | None = None

    def progress(
        self,
        done: float | None = None,
        total: float | None = None,
        *,
        percent: float | None = None,
        message: str | None = None,
        step: str | None = None,
        unit: str | None = None,
    ) -> None:
        """Report progress. Values that are left out stay as they were. Call it as often as you like: it is cheap.

        `done` of `total` in `unit` give the percentage; `percent` (0-100) is for work without units. Clients see at
        most ten reports a second.
        """
        reported = self._reported
        if done is not None:
            reported.done = done if type(done) in _EXACT else exact_number(done)
        if total is not None:
            reported.total = total if type(total) in _EXACT else exact_number(total)
        if percent is not None:
            reported.percent = percent if type(percent) in _EXACT else exact_number(percent)
        if message is not None:
            reported.message = message if type(message) is str else exact_text(message)
        if step is not None:
            reported.step = step if type(step) is str else exact_text(step)
        if unit is not None:
            reported.unit = unit if type(unit) is str else exact_text(unit)
        reported.mark_changed()
        if self._nudge is not None:
            self._nudge()

    def log(self, message: str, level: str = "info") -> None:
        """Add a line to the job's log. `level`: `debug`, `info`, `warning` or `error`."""
        self._logs.add(level, message)

    @property
    def cancelled(self) -> bool:
        """Whether this attempt has been asked to stop."""
        return self._cancelled

    def ask_to_stop(self) -> None:
        """Set `cancelled`. Called by the server, not by handlers."""
        self._cancelled = True

    @property
    def work_dir(self) -> Path:
        """A directory shared by all attempts of this job. It is deleted with the job."""
        return self._made(self._directories.work)

    @property
    def output_dir(self) -> Path:
        """A directory of this attempt. When the attempt completes, every file in it can be downloaded."""
        return self._made(self._directories.output)

    @property
    def data_dir(self) -> Path:
        """A directory shared by all jobs of this type. It is never deleted."""
        return self._made(self._directories.data)

    def _made(self, directory: str) -> Path:
        self.has_directories = True
        made = Path(directory)
        made.mkdir(parents=True, exist_ok=True)
        return made

    @property
    def result_url(self) -> str | None:
        """Where clients find the result: a path on this server, or an http(s) URL. `None`: at the return value.

        Set it if the result is more than the return value: the job's `resultUrl` and the redirect from its status lead
        there once it has completed.
        """
        return self._result_url

    @result_url.setter
    def result_url(self, url: str | None) -> None:
        """Raises `ValueError` for a URL that a `Location` header cannot hold."""
        url = None if url is None else exact_text(url) or ""
        if url is not None and (len(url) > RESULT_URL_CHARS or not _RESULT_URL.fullmatch(url)):
            raise ValueError("result_url must be a path that begins with one /, or an http(s) URL, percent-encoded")
        self._result_url = url

    def _start_tracking(
        self, items: object, total: float | None, unit: str | None, message: str | None, step: str | None
    ) -> None:
        if total is None and isinstance(items, Sized):
            total = len(items)
        self._reported.total = exact_number(total)
        self._reported.percent = None  # from here on, done and total give the percentage
        self.progress(done=0, unit=unit, message=message, step=step)


def _checkpoint_json(value: Any) -> str:
    encoded = to_json(value)
    if len(encoded) > CHECKPOINT_BYTES:
        raise ValueError(
            f"a checkpoint has at most {CHECKPOINT_BYTES:,} bytes as JSON, not {len(encoded):,}: "
            "write what is large into a file in ctx.work_dir"
        )
    return encoded.decode()


class BlockingContext(_JobContext):
    """The context of a `def` handler.

    `sync_checkpoint` stores JSON text durably, or raises; `nudge` is called with every report.
    """

    def __init__(
        self, *, sync_checkpoint: Callable[[str], None], nudge: Callable[[], None] = lambda: None, **common: Any
    ) -> None:
        super().__init__(**common)
        self._sync_checkpoint = sync_checkpoint
        self._nudge: Callable[[], None] = nudge

    def raise_if_cancelled(self) -> None:
        """Raise `JobCancelled` if this attempt has been asked to stop. Let it through: the server expects it."""
        if self._cancelled:
            raise JobCancelled

    def track(
        self,
        items: Iterable[T],
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
        step: str | None = None,
    ) -> Iterator[T]:
        """Iterate over `items` and report each one when it is done. Stops when the job is cancelled."""
        self._start_tracking(items, total, unit, message, step)
        reported = self._reported
        nudge = self._nudge
        for done, item in enumerate(items, 1):
            if self._cancelled:
                raise JobCancelled
            yield item
            reported.done = done
            reported.changed = True  # nobody else listens in a child
            nudge()

    def checkpoint(self, value: Any) -> None:
        """Store `value` (anything that JSON can hold) durably. After a crash, `resumed` has it.

        Raises `ValueError` if it has more than 1 MiB as JSON: large data belong in a file in `work_dir`.
        """
        self.raise_if_cancelled()
        self._sync_checkpoint(_checkpoint_json(value))


class Context(_JobContext):
    """The context of an `async def` handler."""

    def __init__(
        self,
        *,
        async_checkpoint: Callable[[str], Awaitable[None]],
        start_process: "Callable[..., Awaitable[Process]]",
        **common: Any,
    ) -> None:
        """`async_checkpoint` stores JSON text durably, or raises. `start_process` starts a program of this attempt."""
        super().__init__(**common)
        self._async_checkpoint = async_checkpoint
        self._start_process = start_process

    async def subprocess(
        self,
        program: str | PathLike[str],
        *arguments: str | PathLike[str],
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        cwd: str | PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> "Process":
        """Start a program that ends with the attempt: it is killed, with its group, once the handler has ended.

        Like `asyncio.create_subprocess_exec`, but it has no input unless you give it one, and what it prints goes to
        the server's stderr unless you ask for a `PIPE`. Raises `OSError` if it cannot be started.
        """
        from subprocess import DEVNULL  # noqa: PLC0415 - most handlers never need it

        return await self._start_process(
            program,
            *arguments,
            stdin=DEVNULL if stdin is None else stdin,
            stdout=STDERR_DESCRIPTOR if stdout is None else stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
        )

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if this attempt has been asked to stop, as every `await` does."""
        if self._cancelled:
            from asyncio import CancelledError  # noqa: PLC0415 - a process job never needs asyncio

            raise CancelledError

    async def track(
        self,
        items: Iterable[T] | AsyncIterable[T],
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
        step: str | None = None,
    ) -> AsyncIterator[T]:
        """Iterate over `items` and report each one when it is done. Yields to the event loop now and then."""
        from asyncio import sleep  # noqa: PLC0415

        self._start_tracking(items, total, unit, message, step)
        reported = self._reported
        done = 0
        yielded_s = time.monotonic()
        async for item in _aiter(items):
            yield item
            done += 1
            reported.done = done
            if not reported.changed:
                reported.mark_changed()
            if time.monotonic() - yielded_s > YIELD_AFTER_S:
                await sleep(0)
                yielded_s = time.monotonic()

    async def checkpoint(self, value: Any) -> None:
        """Store `value` (anything that JSON can hold) durably. After a crash, `resumed` has it.

        Raises `ValueError` if it has more than 1 MiB as JSON: large data belong in a file in `work_dir`.
        """
        await self._async_checkpoint(_checkpoint_json(value))


async def _aiter(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
