"""The tasks and programs that an `async def` handler starts: they end with its attempt, and their failures are its."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import Context as Nobodys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from headway import Context
from headway.authoring.author_code import NOT_ITS_OWN
from headway.domain.outcomes import Cancelled, Completed, Failed
from headway.running.attempt import StopReason
from headway.running.handler_tasks import AT_ONCE, containing
from headway.running.subprocesses import Subprocesses
from structlog.testing import capture_logs

from tests.support.attempts import an_attempt
from tests.support.executing import ExecutorBench
from tests.support.process import WAIT_TIMEOUT_S, alive, eventually
from tests.support.serving import Serving

POOL = """
import asyncio

class Pool:
    def use(self):
        self.worker = asyncio.create_task(self.work())

    async def work(self):
        await asyncio.Event().wait()

class Exits(Pool):
    async def work(self):
        raise SystemExit(5)
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ExecutorBench]:
    with containing():
        yield ExecutorBench(tmp_path)
    assert asyncio.get_running_loop().get_task_factory() is None


@pytest.fixture
def library(tmp_path: Path) -> Any:
    """A module that is installed as libraries are."""
    path = tmp_path / "site-packages" / "a_pool.py"
    path.parent.mkdir()
    path.write_text(POOL, "utf-8")
    spec = spec_from_file_location("a_pool", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def for_ever() -> None:
    await asyncio.Event().wait()


async def exits() -> None:
    sys.exit(3)


async def interrupts() -> None:
    raise KeyboardInterrupt


async def fails() -> None:
    raise ValueError("broken")


MANY = 1_000


class Crowd:
    """A handler's very many tasks: how many are cancelled in one round of the loop."""

    def __init__(self, *, swallows: bool) -> None:
        """`swallows`: whether they swallow their cancellation."""
        self.over = not swallows
        self.most_at_once = 0
        self._cancelled = 0

    async def leaves(self, _ctx: Context) -> None:
        self._tasks = [asyncio.create_task(self.waits()) for _ in range(MANY)]
        await asyncio.sleep(0)

    async def waits(self) -> None:
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                self._cancelled += 1
                if self.over:
                    raise

    async def watched(self, running: Any) -> Any:
        """Await `running`, and count meanwhile."""
        task = asyncio.create_task(running)
        while not task.done():
            self._cancelled = 0
            await asyncio.sleep(0)
            self.most_at_once = max(self.most_at_once, self._cancelled)
        return await task


def detail(outcome: Any) -> str | None:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.detail


# Left running


async def test_a_task_that_is_left_running_is_cancelled_and_the_log_names_it(bench: ExecutorBench) -> None:
    left: list[asyncio.Task[None]] = []

    async def leaves(ctx: Context) -> str:
        left.append(asyncio.create_task(for_ever()))
        await asyncio.sleep(0)
        return "done"

    bench.handles(leaves)
    assert await bench.run() == Completed('"done"')
    assert left[0].cancelled()
    assert bench.messages == ["the handler left a task running, and it was cancelled: for_ever()"]


async def test_a_task_that_is_cancelled_before_it_begins_leaves_no_word_of_python(
    bench: ExecutorBench, recwarn: pytest.WarningsRecorder
) -> None:
    async def cancels(ctx: Context) -> None:
        asyncio.create_task(for_ever()).cancel()

    bench.handles(cancels)
    assert isinstance(await bench.run(), Completed)
    assert list(recwarn) == []


async def test_tasks_that_tasks_have_started_are_cancelled_too(bench: ExecutorBench) -> None:
    left: list[asyncio.Task[None]] = []

    async def starts_another() -> None:
        left.append(asyncio.ensure_future(for_ever()))

    async def leaves(ctx: Context) -> None:
        await asyncio.gather(starts_another(), starts_another())

    bench.handles(leaves)
    await bench.run()
    assert [task.cancelled() for task in left] == [True, True]


async def test_tasks_of_a_cancelled_job_are_cancelled_without_a_word(bench: ExecutorBench) -> None:
    left: list[asyncio.Task[None]] = []
    attempt = an_attempt()

    async def waits(ctx: Context) -> None:
        left.append(asyncio.create_task(for_ever()))
        attempt.stop(StopReason.CANCEL, 5.0)
        await for_ever()

    bench.handles(waits)
    assert await bench.run(attempt) == Cancelled()
    assert left[0].cancelled()
    assert bench.messages == []


async def test_a_task_that_swallows_its_cancellation_is_abandoned(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def leaves(ctx: Context) -> None:
        asyncio.create_task(stubborn())  # noqa: RUF006 - that is what is tested
        await asyncio.sleep(0)

    bench.handles(leaves)
    assert isinstance(await bench.run(), Completed)
    assert len(bench.executor.abandoned) == 1
    released.set()
    await asyncio.wait(bench.executor.abandoned)


async def test_very_many_tasks_that_are_left_running_have_one_line_and_end_while_the_loop_goes_round(
    bench: ExecutorBench,
) -> None:
    left = Crowd(swallows=False)
    bench.handles(left.leaves)
    assert isinstance(await left.watched(bench.run()), Completed)
    (message,) = bench.messages
    named = ", ".join(["Crowd.waits()"] * 5)
    assert message == f"the handler left 1,000 tasks running, and they were cancelled: {named} and 995 more"
    assert left.most_at_once <= AT_ONCE


async def test_very_many_tasks_that_are_abandoned_have_one_line_and_the_loop_goes_round(bench: ExecutorBench) -> None:
    left = Crowd(swallows=True)
    bench.handles(left.leaves)
    with capture_logs() as logged:
        assert isinstance(await left.watched(bench.run()), Completed)
    left.over = True
    abandoned = bench.executor.abandoned
    for task in abandoned:
        task.cancel()
    await asyncio.wait(abandoned)
    (entry,) = [entry for entry in logged if "abandoned" in entry["event"]]
    assert entry["event"] == "tasks of the handler swallowed their cancellation and were abandoned"
    assert (entry["tasks"], entry["named"]) == (MANY, ["Crowd.waits()"] * 5)
    assert len(abandoned) == MANY
    assert left.most_at_once <= AT_ONCE


async def test_a_task_of_a_library_goes_on(bench: ExecutorBench, library: Any) -> None:
    pool = library.Pool()

    async def uses(ctx: Context) -> None:
        pool.use()
        await asyncio.sleep(0)

    bench.handles(uses)
    assert isinstance(await bench.run(), Completed)
    assert bench.messages == []
    assert not pool.worker.done(), "the next job uses it too"
    pool.worker.cancel()


async def test_a_task_that_no_handler_has_started_is_nobodys(bench: ExecutorBench) -> None:
    async def returns(ctx: Context) -> None: ...

    other = asyncio.create_task(for_ever())
    bench.handles(returns)
    await bench.run()
    assert not other.done()
    other.cancel()


# Cancelling what is not its own


async def test_a_handler_cancels_its_own_tasks_and_a_librarys_but_none_of_the_server(
    bench: ExecutorBench, library: Any
) -> None:
    pool = library.Pool()

    async def uses(ctx: Context) -> None:
        pool.use()
        await asyncio.sleep(0)

    async def cancels(ctx: Context) -> list[bool]:
        return [task.cancel() for task in (asyncio.create_task(for_ever()), pool.worker, servers)]

    bench.handles(uses)
    await bench.run()
    bench.handles(cancels)
    servers = asyncio.create_task(bench.executor.execute(an_attempt()))
    await servers
    assert bench.store.finished[-1].outcome == Completed("[true,true,false]")
    assert bench.messages == [NOT_ITS_OWN]


async def test_no_handler_cancels_anothers_tasks(bench: ExecutorBench) -> None:
    started: list[asyncio.Task[None]] = []

    async def cancels(ctx: Context) -> bool:
        return started[0].cancel()

    async def waits(ctx: Context) -> bool:
        started.append(asyncio.create_task(for_ever()))
        bench.handles(cancels)
        return started[0].cancelled() or await asyncio.create_task(bench.run(), context=Nobodys()) == Completed("true")

    bench.handles(waits)
    assert await bench.run() == Completed("false")


async def test_time_limits_and_groups_of_a_handler_cancel_it(bench: ExecutorBench) -> None:
    async def raises_in_a_group(ctx: Context) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await for_ever()
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                await for_ever()
        return "both"

    bench.handles(raises_in_a_group)
    assert await asyncio.create_task(bench.run()) == Completed('"both"')


# Failures


@pytest.mark.parametrize(("body", "error"), [(exits, "SystemExit: 3"), (interrupts, "KeyboardInterrupt")])
async def test_an_exit_in_a_task_is_the_failure_of_the_job_at_once(bench: ExecutorBench, body: Any, error: str) -> None:
    async def waits(ctx: Context) -> None:
        asyncio.create_task(body())  # noqa: RUF006 - that is what is tested
        await for_ever()

    bench.handles(waits)
    assert detail(await bench.run()) == error


async def test_an_exit_in_a_task_group_is_the_failure_of_the_job(bench: ExecutorBench) -> None:
    async def groups(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(exits())
            group.create_task(for_ever())

    bench.handles(groups)
    assert detail(await bench.run()) == "SystemExit: 3"


async def test_an_exit_that_the_handler_ignores_is_the_failure_of_the_job(bench: ExecutorBench) -> None:
    async def ignores(ctx: Context) -> str:
        await asyncio.wait({asyncio.create_task(exits())})
        return "all is well"

    bench.handles(ignores)
    assert detail(await bench.run()) == "SystemExit: 3"


async def test_an_exit_in_a_task_of_a_library_is_the_failure_of_the_job(bench: ExecutorBench, library: Any) -> None:
    pool = library.Exits()

    async def uses(ctx: Context) -> None:
        pool.use()
        await for_ever()

    bench.handles(uses)
    assert detail(await bench.run()) == "SystemExit: 5"


async def test_an_exception_that_nobody_has_seen_is_the_failure_of_the_job(bench: ExecutorBench) -> None:
    async def forgets(ctx: Context) -> str:
        asyncio.create_task(fails())  # noqa: RUF006 - that is what is tested
        await asyncio.sleep(0)
        return "all is well"

    bench.handles(forgets)
    assert detail(await bench.run()) == "ValueError: broken"


async def test_an_exception_that_the_handler_has_seen_is_no_failure(bench: ExecutorBench) -> None:
    async def looks(ctx: Context) -> str:
        (seen,) = await asyncio.gather(fails(), return_exceptions=True)
        return str(seen)

    bench.handles(looks)
    assert await bench.run() == Completed('"broken"')
    assert bench.messages == []


async def test_exceptions_of_other_tasks_are_in_the_log(bench: ExecutorBench) -> None:
    async def fails_when_cancelled() -> None:
        try:
            await for_ever()
        finally:
            raise OSError("no route")

    async def forgets(ctx: Context) -> None:
        asyncio.create_task(fails_when_cancelled())  # noqa: RUF006 - that is what is tested
        await asyncio.sleep(0)

    bench.handles(forgets)
    assert isinstance(await bench.run(), Completed)
    assert bench.messages[1].endswith("fails_when_cancelled(): OSError: no route")


async def test_a_task_keeps_its_name(bench: ExecutorBench) -> None:
    async def names(ctx: Context) -> list[str]:
        task = asyncio.create_task(exits_not(), name="mine")
        await task
        return [task.get_name(), task.get_coro().__qualname__]  # type: ignore[union-attr]

    async def exits_not() -> None: ...

    bench.handles(names)
    outcome = await bench.run()
    assert outcome.result_json.startswith('["mine","')
    assert outcome.result_json.endswith('exits_not"]')


# Programs


SLEEPS = ("sh", "-c", "sleep 600 & echo $$ $!; wait")


async def pids_of(ctx: Context) -> list[int]:
    process = await ctx.subprocess(*SLEEPS, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return [int(pid) for pid in (await process.stdout.readline()).split()]


async def test_a_program_ends_with_its_attempt_and_so_does_what_it_has_started(bench: ExecutorBench) -> None:
    bench.handles(pids_of)
    outcome = await bench.run()
    assert isinstance(outcome, Completed), outcome
    pids = [int(pid) for pid in outcome.result_json.strip("[]").split(",")]
    assert len(pids) == 2
    await asyncio.to_thread(eventually, lambda: not any(map(alive, pids)))


async def test_a_program_that_ends_by_itself_gives_its_output_and_status(bench: ExecutorBench) -> None:
    async def runs(ctx: Context) -> list[Any]:
        process = await ctx.subprocess("sh", "-c", "cat; exit 7", stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        return [output.decode(), process.returncode]

    bench.handles(runs)
    assert await bench.run() == Completed('["",7]'), "it has no input"


async def test_a_program_that_is_not_there_is_an_error_for_the_handler(bench: ExecutorBench) -> None:
    async def runs(ctx: Context) -> None:
        await ctx.subprocess("no-such-program")

    bench.handles(runs)
    assert "no-such-program" in (detail(await bench.run()) or "")


@pytest.mark.parametrize("under_way", [False, True], ids=["ended before", "ends meanwhile"])
async def test_no_program_is_started_for_an_attempt_that_has_ended(under_way: bool) -> None:
    """A handler that swallowed its cancellation goes on, but its attempt is over."""
    processes = Subprocesses()
    start = asyncio.ensure_future(processes.start("sleep", "600"))
    if under_way:
        await asyncio.sleep(0)
    await processes.end()
    try:
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            with pytest.raises(RuntimeError, match="the attempt has ended"):
                await start
    finally:
        await processes.end()


# In a server


JOBS = """
import asyncio, os, signal, subprocess, sys
from headway import Context, job

async def exits():
    sys.exit(3)

@job("exits")
async def exits_itself(ctx: Context) -> None:
    sys.exit(3)

@job("exits-in-a-task")
async def exits_in_a_task(ctx: Context) -> None:
    asyncio.create_task(exits())
    await asyncio.sleep(600)

@job("interrupts")
async def interrupts(ctx: Context) -> None:
    raise KeyboardInterrupt

@job("works")
async def works(ctx: Context) -> int:
    return 42

@job("starts-a-program")
async def starts_a_program(ctx: Context) -> None:
    process = await ctx.subprocess("sleep", "600")
    ctx.progress(message=f"pid {process.pid}")
    await process.wait()
"""


def test_no_exit_of_a_handler_ends_the_server(serving: Serving, tmp_path: Path) -> None:
    jobs = tmp_path / "exiting_jobs.py"
    jobs.write_text(JOBS, "utf-8")
    server = serving(":memory:", "--jobs", str(jobs))
    for job_type, error in {
        "exits": "SystemExit: 3", "exits-in-a-task": "SystemExit: 3", "interrupts": "KeyboardInterrupt",
    }.items():  # fmt: skip
        job = server.wait_for(server.submit(job_type))
        assert (job["status"], job["error"]["detail"]) == ("failed", error)
    assert server.wait_for(server.submit("works"))["result"] == 42


@pytest.mark.parametrize("how", ["cancelled", "killed", "stopped"])
def test_a_program_does_not_outlive_its_job_or_its_server(serving: Serving, tmp_path: Path, how: str) -> None:
    jobs = tmp_path / "program_jobs.py"
    jobs.write_text(JOBS, "utf-8")
    server = serving(":memory:", "--jobs", str(jobs), env={"HEADWAY_SHUTDOWN_GRACE_S": "0.2"})
    job_id = server.submit("starts-a-program")
    message = next(state["message"] for state in server.states(job_id) if state["message"])
    pid = int(message.removeprefix("pid "))
    assert alive(pid)
    match how:
        case "cancelled":
            server.request("DELETE", f"/jobs/{job_id}")
        case "killed":
            os.kill(server.process.pid, signal.SIGKILL)
        case _:
            server.stop()
    eventually(lambda: not alive(pid))
