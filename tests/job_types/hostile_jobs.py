"""Handlers that harm whatever they can: their process, their server's, and the processes that they start.

Each writes the ids of all processes that it has into a file named after its job, so that a test can look for them.
"""

import ctypes
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from headway import BlockingContext, Context, job
from pydantic import BaseModel

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

FOLDER = Path(os.environ["HOSTILE_FOLDER"])
FORKS = 500
PROGRAM = "echo $$; sleep 600 & echo $!; wait"


class Hostile(BaseModel):
    """`act` is the name of one of the functions below; `goes_on`: it never returns, whatever it is told."""

    act: str
    goes_on: bool = False


class Unheard(BaseException):
    """No `Exception`: `except Exception` does not see it."""


def note(job_id: str, *pids: int) -> None:
    with (FOLDER / job_id).open("a") as pids_file:
        pids_file.write("".join(f"{pid}\n" for pid in pids))


def is_second_attempt(attempt: int) -> bool:
    """Whether a server was stopped or has died meanwhile. Then a handler is no longer hostile."""
    return attempt > 1


# What both kinds do


def exits(_: str) -> None:
    sys.exit(3)


def raises_no_exception(_: str) -> None:
    raise Unheard("nobody hears this")


def recurses(job_id: str) -> None:
    recurses(job_id)


def ends_the_process(_: str) -> None:
    os._exit(7)


def segfaults(_: str) -> None:
    ctypes.string_at(0)


class OddMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit(5)


class OddError(Exception, metaclass=OddMeta):
    """Nothing of it can be read."""

    @property
    def __notes__(self) -> NoReturn:  # type: ignore[override]
        raise SystemExit(6)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise SystemExit(7)

    def __str__(self) -> str:
        raise SystemExit(8)


def raises_what_cannot_be_read(_: str) -> None:
    raise OddError


def raises_a_long_chain(_: str) -> None:
    error = ValueError("the last of many")
    before: BaseException = error
    for number in range(20_000):
        before.__cause__ = KeyError(number)
        before = before.__cause__
    raise error


# What only a process can do without harm to its server


def closes_its_descriptors(_: str) -> None:
    os.closerange(0, 1_000)


def writes_without_end(_: str) -> None:
    """Past Python's `print`; a program that it starts does so too."""
    subprocess.Popen(["yes", "flooded by a program"])
    for _number in range(100):
        os.write(1, b"flooded by \x1b[2J a descriptor\n" * 1000)
        os.write(2, b"flooded without an end of the line" * 1000)


def cannot_write_the_log(_: str) -> None:
    """As on a full disk: the log of the tests' servers is a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    print("lost")  # noqa: T201
    logging.getLogger(__name__).warning("lost too")


def stops(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def stops_its_nursery(_: str) -> None:
    os.kill(os.getppid(), signal.SIGSTOP)


def stops_its_keeper(_: str) -> None:
    os.kill(_parent_of(os.getppid()), signal.SIGSTOP)


def stops_both(job_id: str) -> None:
    stops_its_keeper(job_id)
    stops_its_nursery(job_id)


def leaves_its_group(_: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.setpgid(0, os.getpgid(os.getppid()))


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def sleeps_in_a_fork(job_id: str) -> int:
    """Returns the fork's process id, once the file has it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        note(job_id, os.getpid())
        os.write(writer, b"x")
        _sleep()
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return pid


def forks(job_id: str) -> None:
    for _ in range(FORKS):
        pid = os.fork()
        if pid == 0:
            _sleep()
        note(job_id, pid)


def starts_a_daemon(job_id: str, *, new_session: bool = False) -> None:
    """The double fork of daemon(7)."""
    pid = os.fork()
    if pid == 0:
        if new_session:
            os.setsid()
        sleeps_in_a_fork(job_id)
        os._exit(0)
    os.waitpid(pid, 0)


def starts_a_daemon_in_a_session(job_id: str) -> None:
    starts_a_daemon(job_id, new_session=True)


def starts_a_child_that_stops(job_id: str) -> None:
    os.kill(sleeps_in_a_fork(job_id), signal.SIGSTOP)


def dies_before_its_child(job_id: str) -> None:
    sleeps_in_a_fork(job_id)
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(_: str) -> None: ...


def _sleep() -> NoReturn:
    """Ignores every signal that can be ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(600)


ACTS: dict[str, Callable[[str], object]] = {
    act.__name__: act
    for act in (
        *(raises_what_cannot_be_read, raises_a_long_chain),
        *(exits, raises_no_exception, recurses, ends_the_process, segfaults, closes_its_descriptors, stops, forks),
        *(writes_without_end, cannot_write_the_log),
        *(starts_a_daemon, starts_a_daemon_in_a_session, starts_a_child_that_stops, dies_before_its_child, nothing),
        *(stops_its_nursery, stops_its_keeper, stops_both, leaves_its_group),
    )
}


def be_hostile(ctx: BlockingContext, input: Hostile) -> int:
    if is_second_attempt(ctx.attempt):
        return ctx.attempt
    note(ctx.job_id, os.getpid())
    if input.act == "stops":
        (FOLDER / f"{ctx.job_id}.ready").touch()
    ACTS[input.act](ctx.job_id)
    (FOLDER / f"{ctx.job_id}.ready").touch()
    while input.goes_on:
        try:
            time.sleep(600)
        except BaseException:  # noqa: BLE001, S112 - it swallows its interruption
            continue
    return ctx.attempt


@job("hostile-process", max_attempts=1)
def hostile_process(ctx: BlockingContext, input: Hostile) -> int:
    return be_hostile(ctx, input)


async def be_hostile_in_the_loop(ctx: Context, input: Hostile) -> int:
    import asyncio  # noqa: PLC0415 - the processes of the others do not need it

    if is_second_attempt(ctx.attempt):
        return ctx.attempt
    if input.act in IN_THE_LOOP:
        await IN_THE_LOOP[input.act](ctx)
    elif input.act in EXITS_ELSEWHERE:
        await EXITS_ELSEWHERE[input.act](asyncio.get_running_loop())
        await asyncio.sleep(0.1)
    else:
        ACTS[input.act](ctx.job_id)
    (FOLDER / f"{ctx.job_id}.ready").touch()
    while input.goes_on:
        try:
            await asyncio.sleep(600)
        except BaseException:  # noqa: BLE001, S112 - it swallows its cancellation
            continue
    return ctx.attempt


async def _exits_in_a_callback(loop: "AbstractEventLoop") -> None:
    loop.call_soon(sys.exit, 3)


async def _is_interrupted_in_a_timer(loop: "AbstractEventLoop") -> None:
    loop.call_later(0.001, _raise_keyboard_interrupt)


def _raise_keyboard_interrupt() -> NoReturn:
    raise KeyboardInterrupt("nobody pressed it")


async def _exits_when_a_future_is_done(loop: "AbstractEventLoop") -> None:
    future = loop.create_future()
    future.add_done_callback(lambda _: sys.exit(3))
    future.set_result(None)


async def _exits_in_the_end_of_a_generator(_: "AbstractEventLoop") -> None:
    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            sys.exit(3)

    await anext(generate())


EXITS_ELSEWHERE = {
    "exits_in_a_callback": _exits_in_a_callback,
    "is_interrupted_in_a_timer": _is_interrupted_in_a_timer,
    "exits_when_a_future_is_done": _exits_when_a_future_is_done,
    "exits_in_the_end_of_a_generator": _exits_in_the_end_of_a_generator,
}
"""What ends an event loop, and is in no task of the handler."""


async def _program(ctx: Context, script: str, lines: int) -> None:
    program = await ctx.subprocess("sh", "-c", script, stdout=subprocess.PIPE)
    assert program.stdout is not None
    note(ctx.job_id, *[int(await program.stdout.readline()) for _ in range(lines)])


async def _starts_a_program(ctx: Context) -> None:
    await _program(ctx, PROGRAM, lines=2)


async def _starts_a_program_that_stops(ctx: Context) -> None:
    await _program(ctx, "echo $$; kill -STOP $$", lines=1)


async def _cancels_all_tasks(_: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def _fills_its_threads(ctx: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    sleeping = asyncio.gather(*(asyncio.to_thread(time.sleep, 600) for _ in range(100)))
    await asyncio.sleep(0)
    (FOLDER / f"{ctx.job_id}.ready").touch()
    await sleeping


async def _leaves_a_flood(_: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    asyncio.create_task(_floods())  # noqa: RUF006 - it is left behind
    threading.Thread(target=_floods_from_a_thread, daemon=True).start()
    await asyncio.sleep(0)


async def _floods() -> None:
    """Prints, logs, and starts tasks that fail, whatever it is told."""
    import asyncio  # noqa: PLC0415 - as above

    while True:
        with suppress(asyncio.CancelledError):
            print("flooded by a task")  # noqa: T201 - handlers do
            logging.getLogger("flood").warning("flooded by a record")
            asyncio.create_task(_fails())  # noqa: RUF006 - nobody asks for its exception
            await asyncio.sleep(0)


async def _fails() -> NoReturn:
    raise ValueError("flooded by a task that failed")


def _floods_from_a_thread() -> NoReturn:
    while True:
        print("flooded by a thread")  # noqa: T201 - as above
        time.sleep(0)


def _raises(*_: object, **__: object) -> NoReturn:
    raise ValueError("of a task factory")


async def _sets_a_task_factory(_: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    asyncio.get_running_loop().set_task_factory(_raises)


async def _shuts_down_generators(_: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    await asyncio.get_running_loop().shutdown_asyncgens()


async def _shuts_down_threads(_: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    await asyncio.get_running_loop().shutdown_default_executor()


async def _stops_the_loop(_: Context) -> None:
    import asyncio  # noqa: PLC0415 - as above

    asyncio.get_running_loop().stop()


IN_THE_LOOP = {
    "sets_a_task_factory": _sets_a_task_factory,
    "shuts_down_generators": _shuts_down_generators,
    "shuts_down_threads": _shuts_down_threads,
    "stops_the_loop": _stops_the_loop,
    "starts_a_program": _starts_a_program,
    "starts_a_program_that_stops": _starts_a_program_that_stops,
    "cancels_all_tasks": _cancels_all_tasks,
    "fills_its_threads": _fills_its_threads,
    "leaves_a_flood": _leaves_a_flood,
}


@job("hostile-async", max_attempts=1)
async def hostile_async(ctx: Context, input: Hostile) -> int:
    return await be_hostile_in_the_loop(ctx, input)


@job("kills-its-server", max_attempts=1)
async def kills_its_server(_: Context, input: Hostile) -> None:
    """Once for each time that the gate is opened: a named pipe, whose reader waits for its writer."""
    import asyncio  # noqa: PLC0415 - as above

    await asyncio.to_thread((FOLDER / "gate").read_bytes)
    ACTS[input.act]("")
