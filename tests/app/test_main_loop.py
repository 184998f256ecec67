"""What a callback raises to end the event loop does not end the server: its job fails, or it is logged."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
import uvloop
from headway import Context, job
from headway.app import main_loop
from headway.authoring import declaring
from headway.authoring.author_code import AuthorCode
from headway.authoring.job_types import JobType
from headway.authoring.reporting import LogBuffer
from headway.running.calling import Raised, Returned
from headway.running.handler_tasks import HandlerTasks
from structlog.testing import capture_logs


@pytest.fixture
def job_type(monkeypatch: pytest.MonkeyPatch) -> JobType:
    monkeypatch.setattr(declaring, "_declared", {})

    @job("exits")
    async def exits(_: Context) -> int:
        return 1

    return declaring.declared("exits")


@pytest.fixture(autouse=True)
def _interrupts_are_handled() -> Iterator[None]:
    """As they are while a server serves; otherwise Ctrl-C raises `KeyboardInterrupt`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def raise_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("ends", [lambda: sys.exit(3), raise_keyboard_interrupt], ids=["exit", "interrupt"])
def test_it_is_the_failure_of_the_handler_that_runs(job_type: JobType, ends: Callable[[], None]) -> None:
    tasks = HandlerTasks(LogBuffer())

    async def handle() -> None:
        with tasks:
            asyncio.get_running_loop().call_soon(ends)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
        assert isinstance(await tasks.end(Returned("1"), job_type, 1.0), Raised)

    with asyncio.Runner() as runner:
        main_loop._run(runner.get_loop(), handle())


def test_it_is_logged_when_its_handler_is_over(job_type: JobType) -> None:
    tasks = HandlerTasks(LogBuffer())

    async def handle() -> None:
        with tasks:
            asyncio.get_running_loop().call_soon(sys.exit, 3)
        assert await tasks.end(Returned("1"), job_type, 1.0) == Returned("1")
        await asyncio.sleep(0)

    with capture_logs() as logged, asyncio.Runner() as runner:
        main_loop._run(runner.get_loop(), handle())
    assert "SystemExit: 3" in logged[0]["traceback"]


def test_the_servers_own_exit_ends_it() -> None:
    async def serve() -> None:
        sys.exit(4)

    with asyncio.Runner() as runner, pytest.raises(SystemExit, match="4"):
        main_loop._run(runner.get_loop(), serve())


def test_a_loop_that_somebody_stops_goes_on() -> None:
    told: list[str] = []

    async def serve() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        told.append("served")

    with capture_logs() as logged, asyncio.Runner() as runner:
        main_loop._run(runner.get_loop(), serve())
    assert told == ["served"]
    assert "Event loop stopped" in logged[0]["traceback"]


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_server_may_call_what_handlers_may_not(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        with AuthorCode("job").running():
            for name in main_loop.SERVERS_OWN:
                with pytest.raises(RuntimeError, match=rf"cannot call {name}\(\)"):
                    getattr(loop, name)()
        loop.set_task_factory(None)
        await loop.shutdown_asyncgens()
        loop.stop()
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        main_loop._keep_from_authors(runner.get_loop())
        main_loop._run(runner.get_loop(), serve())
