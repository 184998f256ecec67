"""Dependencies of `def` handlers: made in the child, cleaned up at its end, whatever the handler's end was."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from headway.authoring.dependencies import Depends, checked_factory
from headway.domain.jobs import JobError
from headway.errors import JobCancelled
from headway.running.calling import DependencyFailedError, Needs, Raised, Returned, Stopped
from headway.running.processes import conversation
from headway.running.processes.child.dependencies import Dependencies
from headway.running.processes.processes import Processes
from structlog.testing import capture_logs

from tests.support.children import Bench, ended
from tests.support.process import eventually

JOBS = """
import os, signal, time
from collections.abc import Iterator
from typing import Annotated
from headway import BlockingContext, Depends, job

def note(entry: str) -> None:
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"{entry}\\n")

def config() -> str:
    note("config")
    return "dsn"

def database(dsn: Annotated[str, Depends(config)]) -> Iterator[str]:
    note(f"open {dsn}")
    yield f"connection {os.getpid()}"
    note("close")

Database = Annotated[str, Depends(database)]

@job("uses")
def uses(ctx: BlockingContext, database: Database, *, again: Database, dsn: Annotated[str, Depends(config)]) -> bool:
    note("handler")
    return database is again and database == f"connection {os.getpid()}" and dsn == "dsn"

@job("raises")
def raises(ctx: BlockingContext, database: Database) -> None:
    raise ValueError("broken")

def broken(database: Database) -> None:
    raise ConnectionError("no route")

@job("cannot-begin")
def cannot_begin(ctx: BlockingContext, it: Annotated[None, Depends(broken)]) -> None:
    note("handler")

def crashes() -> None:
    note("set-up")
    os.kill(os.getpid(), signal.SIGKILL)

@job("crashes-in-set-up")
def crashes_in_set_up(ctx: BlockingContext, it: Annotated[None, Depends(crashes)]) -> None: ...

def slow() -> Iterator[None]:
    try:
        note("set-up")
        time.sleep(600)
        yield
    finally:
        note("interrupted")

@job("slow-in-set-up")
def slow_in_set_up(ctx: BlockingContext, database: Database, it: Annotated[None, Depends(slow)]) -> None: ...

def fails_at_the_end() -> Iterator[None]:
    yield
    raise OSError("the disk is full")

@job("fails-in-clean-up")
def fails_in_clean_up(ctx: BlockingContext, database: Database, it: Annotated[None, Depends(fails_at_the_end)]) -> int:
    ctx.log("a line")
    return 7

def crashes_at_the_end() -> Iterator[None]:
    yield
    os.kill(os.getpid(), signal.SIGKILL)

@job("crashes-in-clean-up")
def crashes_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(crashes_at_the_end)]) -> int:
    ctx.log("a line")
    return 7

def hangs_at_the_end() -> Iterator[None]:
    yield
    time.sleep(600)

@job("hangs-in-clean-up")
def hangs_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(hangs_at_the_end)]) -> int:
    return 7

def forks() -> Iterator[None]:
    if os.fork():
        os.wait()
    yield
    if os.fork():
        os.wait()

@job("forks")
def forks_and_returns(ctx: BlockingContext, database: Database, it: Annotated[None, Depends(forks)]) -> None:
    note("handler")

def forks_and_raises() -> Iterator[None]:
    if not os.fork():
        raise ConnectionError("of the forked process")
    os.wait()
    yield
    if not os.fork():
        raise ConnectionError("of the forked process")
    os.wait()

@job("forks-and-raises")
def raises_in_a_fork(ctx: BlockingContext, database: Database, it: Annotated[None, Depends(forks_and_raises)]) -> None:
    note("handler")

def is_slow_at_the_end() -> Iterator[None]:
    yield
    note("clean-up")
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.005)
    note("cleaned up")

@job("slow-in-clean-up")
def slow_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(is_slow_at_the_end)]) -> int:
    return 7
"""


# Without a process


def needs(*factories: Callable[..., Any]) -> Needs:
    checked = (checked_factory("a-job", Depends(factory), in_loop=False) for factory in factories)
    return dict(zip("abcd", checked, strict=False))


def test_a_failure_names_the_factory_and_is_forgotten() -> None:
    tries: list[int] = []

    def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no route")
        return "connected"

    dependencies = Dependencies()
    with pytest.raises(DependencyFailedError, match=r"^flaky\(\): ConnectionError: no route$"):
        dependencies.get(needs(flaky))
    assert dependencies.get(needs(flaky)) == {"a": "connected"}
    assert not dependencies.to_clean_up


@pytest.mark.parametrize("error", [OSError("full"), SystemExit(1), JobCancelled()], ids=repr)
def test_clean_up_goes_on_after_a_failure(error: BaseException) -> None:
    entries: list[str] = []

    def first() -> Iterator[None]:
        yield
        entries.append("first")

    def second() -> Iterator[None]:
        yield
        entries.append("second")
        raise error

    def third() -> Iterator[None]:
        yield
        entries.append("third")
        yield

    dependencies = Dependencies()
    dependencies.get(needs(first, second, third))
    failures = [(failed.factory, failed.reason) for failed in dependencies.clean_up()]
    assert entries == ["third", "second", "first"]
    assert [factory for factory, _ in failures] == ["third()", "second()"]
    assert failures[0][1] == "RuntimeError: generator didn't stop"
    assert failures[1][1].startswith(type(error).__name__)
    assert not dependencies.to_clean_up


# In a child


@pytest.fixture(params=["forked", "spawned"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    module = tmp_path / "jobs_with_dependencies.py"
    module.write_text(JOBS, "utf-8")
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    processes = Processes([str(module)] if request.param == "forked" else [], spares=1)
    await processes.open()
    yield Bench(tmp_path, module, processes)
    await processes.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def diary(bench: Bench) -> list[str]:
    with suppress(FileNotFoundError):
        return (bench.folder / "diary").read_text("utf-8").splitlines()
    return []


async def until_noted(bench: Bench, entry: str) -> None:
    await asyncio.to_thread(eventually, lambda: entry in diary(bench))


async def test_a_child_makes_each_dependency_once_and_cleans_it_up(bench: Bench, logged: list[Any]) -> None:
    assert await bench.run("uses") == Returned("true")
    assert diary(bench) == ["config", "open dsn", "handler", "close"]
    assert await bench.run("uses", job_id="k") == Returned("true")
    assert diary(bench)[4:] == diary(bench)[:4], "another attempt has its own"
    assert logged == []


async def test_a_child_cleans_up_after_a_failure(bench: Bench) -> None:
    end = await bench.run("raises")
    assert isinstance(end, Raised)
    assert end.error.detail == "ValueError: broken"
    assert diary(bench)[-1] == "close"


async def test_a_failed_set_up_in_a_child_is_the_jobs_failure(bench: Bench) -> None:
    end = await bench.run("cannot-begin")
    assert isinstance(end, Raised)
    assert end.error == JobError(
        "handler-error", "The job's handler raised an error", "broken(): ConnectionError: no route", 500
    )
    assert end.traceback is not None
    assert "in broken\n" in end.traceback
    assert diary(bench) == ["config", "open dsn", "close"]


async def test_a_crash_in_set_up_is_the_attempts_end_and_not_tried_again(bench: Bench) -> None:
    end = await bench.run("crashes-in-set-up")
    assert isinstance(end, Raised)
    assert end.error.type == "process-died"
    assert diary(bench) == ["set-up"]


async def test_an_interrupted_set_up_stops_and_what_was_made_is_cleaned_up(bench: Bench) -> None:
    running = bench.conversation("slow-in-set-up")
    task = asyncio.create_task(running.run())
    await until_noted(bench, "set-up")
    running.terminate()
    assert await ended(task) == Stopped()
    assert diary(bench)[-2:] == ["interrupted", "close"]


async def test_a_clean_up_that_fails_leaves_the_job_completed_and_is_logged(bench: Bench, logged: list[Any]) -> None:
    assert await bench.run("fails-in-clean-up") == Returned("7")
    assert diary(bench)[-1] == "close", "the others are cleaned up all the same"
    (entry,) = logged
    assert (entry["event"], entry["factory"]) == ("cleaning up a dependency failed", "fails_at_the_end()")
    assert "OSError: the disk is full" in entry["traceback"]
    assert bench.listener.lines == ["a line", "cleaning up fails_at_the_end() failed: OSError: the disk is full"]


async def test_a_crash_in_clean_up_leaves_the_job_completed(bench: Bench, logged: list[Any]) -> None:
    assert await bench.run("crashes-in-clean-up") == Returned("7")
    assert bench.listener.lines == ["a line"]
    assert [entry["event"] for entry in logged] == ["the process died while it cleaned up the handler's dependencies"]


async def test_a_clean_up_that_hangs_leaves_the_job_completed_and_is_killed(
    bench: Bench, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "CLEAN_UP_WITHIN_S", 0.5)
    monkeypatch.setattr(conversation, "EXIT_WAIT_S", 3600.0)  # it is killed at once
    assert await bench.run("hangs-in-clean-up") == Returned("7")
    assert "took too long" in logged[0]["event"]


async def test_clean_up_is_not_interrupted_by_a_cancel(bench: Bench) -> None:
    running = bench.conversation("slow-in-clean-up")
    task = asyncio.create_task(running.run())
    await until_noted(bench, "clean-up")
    running.cancel()
    running.terminate()
    (bench.folder / "go").touch()
    assert await ended(task) == Returned("7")
    assert diary(bench) == ["clean-up", "cleaned up"]


async def test_a_child_that_is_killed_in_its_clean_up_has_ended_as_its_handler_did(bench: Bench) -> None:
    running = bench.conversation("slow-in-clean-up")
    task = asyncio.create_task(running.run())
    await until_noted(bench, "clean-up")
    running.kill()
    assert await ended(task) == Returned("7")


@pytest.mark.parametrize("job_type", ["forks", "forks-and-raises"])
async def test_a_process_that_a_factory_forks_ends_where_it_comes_out_of_it(
    bench: Bench, logged: list[Any], job_type: str
) -> None:
    assert await bench.run(job_type) == Returned("null")
    assert diary(bench) == ["config", "open dsn", "handler", "close"]
    assert bench.listener.lines == []
    assert logged == []
