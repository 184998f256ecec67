"""Handlers that harm whatever they can: their process, their server's, and the processes that they start.

Each writes the ids of all processes that it has into a file named after its job, so that a test can look for them.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from headway import BlockingContext, Context, job
from pydantic import BaseModel

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


# What only a process can do without harm to its server


def closes_its_descriptors(_: str) -> None:
    os.closerange(0, 1_000)


def stops(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


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
        *(exits, raises_no_exception, recurses, ends_the_process, segfaults, closes_its_descriptors, stops, forks),
        *(starts_a_daemon, starts_a_daemon_in_a_session, starts_a_child_that_stops, dies_before_its_child, nothing),
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
    if input.act == "starts_a_program":
        await _program(ctx, PROGRAM, lines=2)
    elif input.act == "starts_a_program_that_stops":
        await _program(ctx, "echo $$; kill -STOP $$", lines=1)
    else:
        ACTS[input.act](ctx.job_id)
    (FOLDER / f"{ctx.job_id}.ready").touch()
    while input.goes_on:
        try:
            await asyncio.sleep(600)
        except BaseException:  # noqa: BLE001, S112 - it swallows its cancellation
            continue
    return ctx.attempt


async def _program(ctx: Context, script: str, lines: int) -> None:
    program = await ctx.subprocess("sh", "-c", script, stdout=subprocess.PIPE)
    assert program.stdout is not None
    note(ctx.job_id, *[int(await program.stdout.readline()) for _ in range(lines)])


@job("hostile-async", max_attempts=1)
async def hostile_async(ctx: Context, input: Hostile) -> int:
    return await be_hostile_in_the_loop(ctx, input)


@job("kills-its-server", max_attempts=1)
async def kills_its_server(_: Context, input: Hostile) -> None:
    """Once for each time that the gate is opened: a named pipe, whose reader waits for its writer."""
    import asyncio  # noqa: PLC0415 - as above

    await asyncio.to_thread((FOLDER / "gate").read_bytes)
    ACTS[input.act]("")
