"""The error hook: called once for every failed job, and harmless however it behaves."""

import asyncio
import threading
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, NewJob
from headway.running import failure_hook
from headway.running.failure_hook import MAX_BACKLOG, MAX_LEFT_BEHIND, FailureHook

IDS = JobIds()
SOON_S = 0.01


def a_job() -> Job:
    job_id, at = IDS.new(datetime.now(UTC))
    return Job.queued(
        NewJob(id=job_id, owner="local", type="t", input_json="{}", created_at=at, run_at=at, retain_s=60)
    )


class Receiver:
    """An operator's function, in the forms that it may have."""

    def __init__(self) -> None:
        self.calls: list[tuple[Job, BaseException | None]] = []
        self.threads: list[int] = []

    def plain(self, job: Job, exception: BaseException | None) -> None:
        self.threads.append(threading.get_ident())
        self.calls.append((job, exception))

    async def in_loop(self, job: Job, exception: BaseException | None) -> None:
        await asyncio.sleep(0)
        self.plain(job, exception)

    async def __call__(self, job: Job, exception: BaseException | None) -> None:
        await self.in_loop(job, exception)


class Log(list[str]):
    """The events that a module logged."""

    def _note(self, event: str, **_values: object) -> None:
        self.append(event)

    error = exception = _note


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(failure_hook, "log", log)
    return log


async def test_a_function_is_given_the_job_and_what_was_raised() -> None:
    receiver, job, error = Receiver(), a_job(), ValueError("broken")
    for on_failure in (receiver.plain, receiver.in_loop, receiver):
        hook = FailureHook(on_failure)
        hook.report(job, error)
        await hook.call_next()
    assert receiver.calls == [(job, error)] * 3
    here = threading.get_ident()
    assert [thread == here for thread in receiver.threads] == [False, True, True], "a plain function may block"


async def test_a_plain_function_that_returns_a_coroutine_has_it_awaited() -> None:
    receiver = Receiver()

    def returns_a_coroutine(job: Job, exception: BaseException | None) -> Awaitable[None]:
        return receiver.in_loop(job, exception)

    hook = FailureHook(returns_a_coroutine)
    hook.report(a_job())
    await hook.call_next()
    assert len(receiver.calls) == 1


async def test_without_a_function_nothing_is_kept() -> None:
    hook = FailureHook()
    for _ in range(2 * MAX_BACKLOG):
        hook.report(a_job())
    async with asyncio.timeout(30):
        await hook.close(60)


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3), KeyboardInterrupt(), StopIteration()])
@pytest.mark.parametrize("form", ["plain", "in_loop"])
async def test_what_a_call_raises_is_logged(form: str, error: BaseException, logged: Log) -> None:
    def plain(job: Job, exception: BaseException | None) -> None:
        raise error

    async def in_loop(job: Job, exception: BaseException | None) -> None:
        raise error

    hook = FailureHook(plain if form == "plain" else in_loop)
    hook.report(a_job())
    await hook.call_next()
    assert logged == ["on_failure raised"]


async def test_a_call_over_the_limit_is_not_waited_for(logged: Log) -> None:
    stopped = asyncio.Event()

    async def never_ends(job: Job, exception: BaseException | None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    hook = FailureHook(never_ends, call_limit_s=SOON_S)
    hook.report(a_job())
    await hook.call_next()
    await stopped.wait()
    assert logged == ["on_failure took too long and is no longer waited for"]


@pytest.mark.parametrize("form", ["plain", "in_loop"])
async def test_calls_that_never_end_are_limited_in_number(form: str, logged: Log) -> None:
    begun, may_end = 0, threading.Event()
    in_loop_may_end = asyncio.Event()

    def plain(job: Job, exception: BaseException | None) -> None:
        nonlocal begun
        begun += 1
        may_end.wait()

    async def swallows(job: Job, exception: BaseException | None) -> None:
        nonlocal begun
        begun += 1
        while not in_loop_may_end.is_set():
            with suppress(asyncio.CancelledError):
                await in_loop_may_end.wait()

    hook = FailureHook(plain if form == "plain" else swallows, call_limit_s=SOON_S)
    for _ in range(MAX_LEFT_BEHIND + 3):
        hook.report(a_job())
        await hook.call_next()
    assert begun == MAX_LEFT_BEHIND
    assert logged.count("on_failure was not called: earlier calls have not ended") == 3
    may_end.set()
    in_loop_may_end.set()
    await asyncio.wait(hook._left_behind)
    hook.report(a_job())
    await hook.call_next()
    assert begun == MAX_LEFT_BEHIND + 1, "once they have ended, it is called again"


async def test_the_backlog_is_bounded_and_dropped_failures_are_logged(logged: Log) -> None:
    receiver = Receiver()
    hook = FailureHook(receiver.in_loop)
    jobs = [a_job() for _ in range(MAX_BACKLOG + 7)]
    for job in jobs:
        hook.report(job)
    for _ in range(MAX_BACKLOG):
        await hook.call_next()
    assert [job for job, _ in receiver.calls] == jobs[:MAX_BACKLOG]
    assert logged == ["on_failure is too slow: failures are dropped until it catches up", "on_failure caught up"]


async def test_closing_waits_for_failures_that_are_queued() -> None:
    receiver = Receiver()
    hook = FailureHook(receiver.in_loop)

    async def call_for_ever() -> None:
        while True:
            await hook.call_next()

    for _ in range(3):
        hook.report(a_job())
    calling = asyncio.create_task(call_for_ever())
    await hook.close(60)
    assert len(receiver.calls) == 3
    calling.cancel()


async def test_closing_waits_no_longer_than_its_grace() -> None:
    hook = FailureHook(Receiver().in_loop)
    hook.report(a_job())
    async with asyncio.timeout(10):
        await hook.close(SOON_S)
