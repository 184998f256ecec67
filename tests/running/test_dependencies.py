"""Dependencies of `async def` handlers: one per factory in the loop, shared, and cleaned up in reverse order."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
from headway import Context, Depends, JobFailed, job
from headway.authoring.dependencies import checked_factory
from headway.domain.outcomes import Cancelled, Completed, Failed
from headway.running.attempt import StopReason
from headway.running.calling import DependencyFailedError, Needs
from headway.running.dependencies import Dependencies
from structlog.testing import capture_logs

from tests.support.attempts import an_attempt
from tests.support.executing import ExecutorBench
from tests.support.process import WAIT_TIMEOUT_S


class Diary:
    """What factories did, and the dependencies that they make."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    def note(self, entry: str) -> None:
        self.entries.append(entry)


@pytest.fixture
async def diary() -> Diary:
    return Diary()


@pytest.fixture
async def dependencies() -> AsyncIterator[Dependencies]:
    all = Dependencies()
    yield all
    await all.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def needs(*factories: Callable[..., Any]) -> Needs:
    """Those of a handler with a parameter for each factory: `a`, `b` and so on."""
    return {
        name: checked_factory("a-job", Depends(factory), in_loop=True)
        for name, factory in zip("abcd", factories, strict=False)
    }


async def soon(waiting: Any) -> Any:
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        return await waiting


# One per process


async def test_each_kind_of_factory_makes_a_dependency(dependencies: Dependencies) -> None:
    def function() -> str:
        return "function"

    def generator() -> Iterator[str]:
        yield "generator"

    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "coroutine"

    async def async_generator() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield "async generator"

    made = await dependencies.get(needs(function, generator, coroutine, async_generator))
    assert made == {"a": "function", "b": "generator", "c": "coroutine", "d": "async generator"}


async def test_a_dependency_is_made_once_and_when_it_is_first_needed(dependencies: Dependencies, diary: Diary) -> None:
    async def made() -> object:
        diary.note("made")
        return object()

    def user(it: Annotated[object, Depends(made)]) -> object:
        return it

    both = needs(made, user)
    assert diary.entries == []
    first, second = await dependencies.get(both), await dependencies.get(both)
    assert first["a"] is first["b"] is second["a"] is second["b"]
    assert diary.entries == ["made"]


async def test_attempts_that_need_it_at_the_same_time_share_one_set_up(
    dependencies: Dependencies, diary: Diary
) -> None:
    async def slow() -> object:
        diary.note("begun")
        diary.begun.set()
        await diary.go.wait()
        return object()

    of_slow = needs(slow)
    waiting = [asyncio.create_task(dependencies.get(of_slow)) for _ in range(10)]
    await soon(diary.begun.wait())
    diary.go.set()
    made = [each["a"] for each in await soon(asyncio.gather(*waiting))]
    assert len(set(map(id, made))) == 1
    assert diary.entries == ["begun"]


async def test_clean_up_is_in_the_reverse_order_of_creation(diary: Diary) -> None:
    async def pool() -> AsyncIterator[str]:
        diary.note("pool")
        await asyncio.sleep(0)
        yield "pool"
        await asyncio.sleep(0)
        diary.note("pool closed")

    def session(of: Annotated[str, Depends(pool)]) -> Iterator[str]:
        diary.note(f"session of {of}")
        yield "session"
        diary.note("session closed")

    async def other() -> AsyncIterator[None]:
        diary.note("other")
        yield
        diary.note("other closed")

    dependencies = Dependencies()
    await dependencies.get(needs(session, other))
    await dependencies.close()
    made = ["pool", "session of pool", "other"]
    assert diary.entries == [*made, "other closed", "session closed", "pool closed"]


async def test_a_factory_may_hold_a_task_group(diary: Diary, logged: list[Any]) -> None:
    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            diary.go.set()

    async def works() -> None:
        await diary.go.wait()
        diary.note("worked")

    dependencies = Dependencies()
    made = await dependencies.get(needs(group))
    made["a"].create_task(works())
    await dependencies.close()
    assert diary.entries == ["worked"]
    assert logged == []


async def test_a_dependency_that_breaks_is_logged_and_set_up_anew(
    dependencies: Dependencies, diary: Diary, logged: list[Any]
) -> None:
    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        diary.note("made")
        try:
            async with asyncio.TaskGroup() as tasks:
                yield tasks
        finally:
            diary.go.set()

    async def fails() -> None:
        raise ValueError("a connection broke")

    of_group = needs(group)
    made = await dependencies.get(of_group)
    made["a"].create_task(fails())
    await soon(diary.go.wait())
    await asyncio.sleep(0)
    again = await dependencies.get(of_group)
    assert again["a"] is not made["a"]
    assert diary.entries == ["made", "made"]
    (entry,) = logged
    assert (entry["event"], entry["factory"]) == ("a dependency broke", "group()")
    assert "ValueError: a connection broke" in entry["traceback"]


async def test_what_a_factory_logs_names_no_job(dependencies: Dependencies) -> None:
    job_id = contextvars.ContextVar("job_id", default="none")

    def seen() -> str:
        return job_id.get()

    job_id.set("01900000")
    assert await dependencies.get(needs(seen)) == {"a": "none"}


# Failure in set-up


async def test_a_set_up_that_fails_fails_all_that_wait_and_is_tried_again_by_the_next(
    dependencies: Dependencies, diary: Diary
) -> None:
    async def flaky() -> str:
        diary.note("tried")
        diary.begun.set()
        await diary.go.wait()
        if len(diary.entries) == 1:
            raise ConnectionError("no route")
        return "connected"

    of_flaky = needs(flaky)
    waiting = [asyncio.create_task(dependencies.get(of_flaky)) for _ in range(3)]
    await soon(diary.begun.wait())
    diary.go.set()
    ends = await soon(asyncio.gather(*waiting, return_exceptions=True))
    assert [str(end) for end in ends] == ["flaky(): ConnectionError: no route"] * 3
    assert await dependencies.get(of_flaky) == {"a": "connected"}
    assert diary.entries == ["tried", "tried"]


async def test_the_failure_names_the_factory_that_failed(dependencies: Dependencies) -> None:
    async def inner() -> None:
        raise OSError("refused")

    def outer(_: Annotated[None, Depends(inner)]) -> None: ...

    with pytest.raises(DependencyFailedError, match=r"^inner\(\): OSError: refused$"):
        await dependencies.get(needs(outer))


async def test_what_was_made_before_a_failure_stays_and_is_cleaned_up(diary: Diary) -> None:
    async def good() -> AsyncIterator[None]:
        diary.note("made")
        yield
        diary.note("closed")

    def bad(_: Annotated[None, Depends(good)]) -> None:
        raise ValueError

    dependencies = Dependencies()
    for _ in range(2):
        with pytest.raises(DependencyFailedError):
            await dependencies.get(needs(bad))
    await dependencies.close()
    assert diary.entries == ["made", "closed"]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
async def test_nothing_that_a_factory_raises_ends_the_loop(dependencies: Dependencies, error: BaseException) -> None:
    async def raises() -> None:
        raise error

    with pytest.raises(DependencyFailedError, match=rf"^raises\(\): {type(error).__name__}"):
        await dependencies.get(needs(raises))


async def test_a_generator_that_yields_nothing_fails(dependencies: Dependencies) -> None:
    async def empty() -> AsyncIterator[None]:
        for _ in range(0):
            yield

    with pytest.raises(DependencyFailedError, match=r"^empty\(\): RuntimeError: generator didn't yield"):
        await dependencies.get(needs(empty))


# Cancellation


async def test_a_cancelled_attempt_does_not_cancel_the_set_up_that_others_wait_for(
    dependencies: Dependencies, diary: Diary
) -> None:
    async def slow() -> str:
        diary.note("begun")
        diary.begun.set()
        await diary.go.wait()
        return "made"

    of_slow = needs(slow)
    first, second = (asyncio.create_task(dependencies.get(of_slow)) for _ in range(2))
    await soon(diary.begun.wait())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    diary.go.set()
    assert await soon(second) == {"a": "made"}
    assert diary.entries == ["begun"]


async def test_a_set_up_that_nobody_waits_for_is_cancelled_and_the_next_attempt_starts_another(
    dependencies: Dependencies, diary: Diary
) -> None:
    async def inner() -> str:
        diary.note("begun")
        diary.begun.set()
        try:
            await diary.go.wait()
        finally:
            diary.note("ended")
        return "made"

    def outer(it: Annotated[str, Depends(inner)]) -> str:
        return it

    of_outer = needs(outer)
    only = asyncio.create_task(dependencies.get(of_outer))
    await soon(diary.begun.wait())
    only.cancel()
    with suppress(asyncio.CancelledError):
        await only
    diary.go.set()
    assert await soon(dependencies.get(of_outer)) == {"a": "made"}
    assert diary.entries == ["begun", "ended", "begun", "ended"]


async def test_an_attempt_that_comes_while_a_set_up_is_given_up_gets_another(
    dependencies: Dependencies, diary: Diary
) -> None:
    async def fragile() -> str:
        diary.note("begun")
        diary.begun.set()
        try:
            await diary.go.wait()
        except asyncio.CancelledError:
            raise OSError("half open") from None
        return "made"

    of_fragile = needs(fragile)
    first = asyncio.create_task(dependencies.get(of_fragile))
    await soon(diary.begun.wait())
    first.cancel()
    second = asyncio.create_task(dependencies.get(of_fragile))  # it runs between the cancel and the set-up's end
    diary.go.set()
    assert await soon(second) == {"a": "made"}
    assert first.cancelled()
    assert diary.entries == ["begun", "begun"]


async def test_a_set_up_that_is_cancelled_before_it_has_begun_has_ended_too(
    dependencies: Dependencies, diary: Diary
) -> None:
    async def made() -> str:
        diary.note("begun")
        return "made"

    of_made = needs(made)
    only = asyncio.create_task(dependencies.get(of_made))
    await asyncio.sleep(0)  # now there is a task for the set-up, but it has not had its first step
    only.cancel()
    await soon(dependencies.close())
    assert diary.entries == []
    assert await soon(dependencies.get(of_made)) == {"a": "made"}


# Clean-up


async def test_a_clean_up_that_fails_is_logged_and_holds_up_no_other(diary: Diary, logged: list[Any]) -> None:
    async def first() -> AsyncIterator[None]:
        yield
        diary.note("first closed")

    async def second() -> AsyncIterator[None]:
        yield
        raise OSError("the disk is full")

    dependencies = Dependencies()
    await dependencies.get(needs(first, second))
    await dependencies.close()
    assert diary.entries == ["first closed"]
    (entry,) = logged
    assert (entry["event"], entry["factory"]) == ("cleaning up a dependency failed", "second()")
    assert "OSError: the disk is full" in entry["traceback"]


async def test_a_clean_up_that_does_not_end_is_cancelled(diary: Diary, logged: list[Any]) -> None:
    async def first() -> AsyncIterator[None]:
        yield
        diary.note("first closed")

    async def hangs() -> AsyncIterator[None]:
        yield
        try:
            await asyncio.Event().wait()
        finally:
            diary.note("cancelled")

    dependencies = Dependencies(clean_up_within_s=0.01)
    await dependencies.get(needs(first, hangs))
    await soon(dependencies.close())
    assert diary.entries == ["cancelled", "first closed"]
    assert [(entry["event"], entry["factory"]) for entry in logged] == [
        ("cleaning up a dependency took too long and was cancelled", "hangs()")
    ]
    assert dependencies.abandoned == set()


async def test_a_clean_up_that_swallows_its_cancellation_is_abandoned(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headway.running.dependencies.END_WITHIN_S", 0.01)

    async def stubborn() -> AsyncIterator[None]:
        yield
        while not diary.go.is_set():
            with suppress(asyncio.CancelledError):
                await diary.go.wait()

    dependencies = Dependencies(clean_up_within_s=0.01)
    await dependencies.get(needs(stubborn))
    try:
        await soon(dependencies.close())
        (left,) = dependencies.abandoned
    finally:
        diary.go.set()
    await soon(asyncio.wait({left}))


async def test_a_set_up_that_is_under_way_at_the_end_is_cancelled(diary: Diary) -> None:
    async def slow() -> None:
        diary.begun.set()
        try:
            await diary.go.wait()
        finally:
            diary.note("cancelled")

    dependencies = Dependencies()
    waiting = asyncio.create_task(dependencies.get(needs(slow)))
    await soon(diary.begun.wait())
    waiting.cancel()
    await soon(dependencies.close())
    await asyncio.wait({waiting})
    assert diary.entries == ["cancelled"]


# With attempts


@pytest.fixture
def bench(tmp_path: Path) -> ExecutorBench:
    return ExecutorBench(tmp_path)


def serve(bench: ExecutorBench, factory: Callable[..., Any], **limits: Any) -> None:
    @job("a-job", **limits)
    async def handler(ctx: Context, it: Annotated[Any, Depends(factory)]) -> Any:
        return it

    bench.serves(handler)


async def test_a_handler_gets_what_it_depends_on(bench: ExecutorBench, diary: Diary) -> None:
    async def made() -> AsyncIterator[str]:
        yield "made"
        diary.note("closed")

    serve(bench, made)
    assert await bench.run() == Completed('"made"')
    assert await bench.run() == Completed('"made"')
    assert diary.entries == []
    await bench.executor.close()
    assert diary.entries == ["closed"]


async def test_a_failed_set_up_is_the_jobs_failure_with_the_factorys_name(
    bench: ExecutorBench, logged: list[Any]
) -> None:
    error = ConnectionError("no route")

    async def http() -> None:
        raise error

    serve(bench, http)
    outcome = await bench.run()
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.detail) == ("handler-error", "http(): ConnectionError: no route")
    assert [reported for _, reported in bench.failures] == [error]
    (entry,) = [entry for entry in logged if entry["event"] == "the handler raised"]
    assert "in http\n" in entry["traceback"]


async def test_a_factory_may_fail_a_job_for_good_like_a_handler(bench: ExecutorBench) -> None:
    async def http() -> None:
        raise JobFailed("Not configured", detail="There is no token.", type="no-token")

    serve(bench, http, max_attempts=3)
    outcome = await bench.run()
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.title) == ("no-token", "Not configured")


async def test_an_exception_that_is_not_retried_is_final_in_a_factory_too(bench: ExecutorBench) -> None:
    async def http() -> None:
        raise KeyError("token")

    serve(bench, http, max_attempts=3, no_retry=(LookupError,))
    assert isinstance(await bench.run(), Failed)


async def test_a_job_can_be_cancelled_while_it_waits_for_a_set_up(bench: ExecutorBench, diary: Diary) -> None:
    async def slow() -> None:
        diary.begun.set()
        try:
            await diary.go.wait()
        finally:
            diary.note("given up")

    serve(bench, slow)
    attempt = an_attempt()
    running = asyncio.create_task(bench.run(attempt))
    await soon(diary.begun.wait())
    attempt.stop(StopReason.CANCEL, 5.0)
    assert await soon(running) == Cancelled()
    await bench.executor.close()
    assert diary.entries == ["given up"]
