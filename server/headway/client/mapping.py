"""One job for each of many inputs: so many at a time, and what came of them as they end."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .calls import Calls
from .handles import ResultT
from .inputs import SubmitOptions
from .states import JobState

if TYPE_CHECKING:
    from concurrent.futures import Future

CONCURRENCY = 8

JobT = TypeVar("JobT")
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[JobT, ResultT]):
    """What came of one input: `index` is its place among the inputs, `job` its job, `None` if it was refused."""

    index: int
    input: Any
    job: JobT | None
    error: Exception | None
    """What `result` raises."""
    _result: Any = field(repr=False)

    @property
    def result(self) -> ResultT:
        """What the job returned. Raises `error`, if there is one."""
        if self.error is not None:
            raise self.error
        result: ResultT = self._result
        return result


@dataclass(frozen=True)
class Task:
    """One input's job, from its submission to its result."""

    job_type: str | Callable[..., Any]
    index: int
    input: Any
    options: SubmitOptions
    model: Any

    async def perform(self, calls: Calls, handle: Callable[[JobState], JobT]) -> Outcome[JobT, Any]:
        """Never raises an `Exception`: what is wrong with one input does not end the others."""
        state: JobState | None = None
        error: Exception | None = None
        result = None
        try:
            state = await calls.submit(self.job_type, self.input, self.options)
            state = await calls.wait(state, None)
            result = await calls.result(state, self.model)
        except Exception as problem:  # noqa: BLE001 - it is the outcome
            error = problem
        return Outcome(self.index, self.input, None if state is None else handle(state), error, result)


def tasks(
    job_type: str | Callable[..., Any], inputs: Iterable[Any], options: SubmitOptions, model: Any
) -> Iterator[Task]:
    """A task for each input. A given idempotency key is made different for each."""
    for index, input in enumerate(inputs):
        key = options.get("idempotency_key")
        own: SubmitOptions = {**options, "idempotency_key": f"{key}/{index}"} if key else options
        yield Task(job_type, index, input, own, model)


def check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")


def in_threads(perform: Callable[[Task], T], tasks: Iterator[Task], concurrency: int) -> Iterator[T]:
    """What comes of the tasks, in the order in which they end. A task is taken when there is a thread for it."""
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait  # noqa: PLC0415 - see `in_tasks`

    executor = ThreadPoolExecutor(concurrency, thread_name_prefix="headway-map")
    pending: set[Future[T]] = set()
    try:
        while True:
            while len(pending) < concurrency and (task := next(tasks, None)) is not None:
                pending.add(executor.submit(perform, task))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


async def in_tasks(
    perform: Callable[[Task], Awaitable[T]], tasks: Iterator[Task], concurrency: int
) -> AsyncGenerator[T, None]:
    """The same in the event loop."""
    import asyncio  # noqa: PLC0415 - only this kind of map needs it

    pending: set[asyncio.Future[T]] = set()
    try:
        while True:
            while len(pending) < concurrency and (task := next(tasks, None)) is not None:
                pending.add(asyncio.ensure_future(perform(task)))
            if not pending:
                return
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                yield each.result()
    finally:
        for each in pending:
            each.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
