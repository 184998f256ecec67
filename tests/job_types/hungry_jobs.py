"""Job types without an end, each with a limit. A time-out ends those whose limit is not kept."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from headway import BlockingContext, Context, job
from pydantic import BaseModel

MIB = 1024 * 1024
BACKSTOP_S = 60
TOO_MUCH_MIB = 600


class Trace(BaseModel):
    trace: str
    """A file that gets the id of each process."""

    def note(self, pid: int) -> None:
        with Path(self.trace).open("a", encoding="ascii") as file:
            file.write(f"{pid}\n")


def forked(trace: Trace, body: Callable[[], object]) -> int:
    """Fork a process that runs `body`, and note its id. Returns that."""
    pid = os.fork()
    if pid:
        trace.note(pid)
        return pid
    body()
    os._exit(0)


def allocate() -> None:
    """Slowly enough that little is wasted, and not for ever."""
    blocks: list[bytes] = []
    while len(blocks) * 8 < TOO_MUCH_MIB:
        blocks.append(b"x" * (8 * MIB))
        time.sleep(0.01)
    time.sleep(BACKSTOP_S)


def compute(cpu_s: float = BACKSTOP_S) -> None:
    until_s = time.process_time() + cpu_s
    while time.process_time() < until_s:
        pass


def sleep() -> None:
    time.sleep(10 * BACKSTOP_S)


@job("allocates", memory_mib=64, timeout_s=BACKSTOP_S)
def allocates(ctx: BlockingContext, input: Trace) -> None:
    input.note(os.getpid())
    allocate()


@job("allocates-in-a-daemon", memory_mib=64, timeout_s=BACKSTOP_S)
def allocates_in_a_daemon(ctx: BlockingContext, input: Trace) -> None:
    def daemon() -> None:
        os.setsid()
        forked(input, allocate)

    os.waitpid(forked(input, daemon), 0)
    sleep()


@job("computes", cpu_s=0.5, timeout_s=BACKSTOP_S)
def computes(ctx: BlockingContext, input: Trace) -> None:
    input.note(os.getpid())
    compute()


@job("computes-in-a-child", cpu_s=0.5, timeout_s=BACKSTOP_S)
def computes_in_a_child(ctx: BlockingContext, input: Trace) -> None:
    os.waitpid(forked(input, compute), 0)


@job("computes-in-children-that-end", cpu_s=0.5, timeout_s=BACKSTOP_S)
def computes_in_children_that_end(ctx: BlockingContext, input: Trace) -> None:
    while True:
        os.waitpid(forked(input, lambda: compute(0.05)), 0)


@job("forks", max_pids=20, timeout_s=BACKSTOP_S)
def forks(ctx: BlockingContext, input: Trace) -> None:
    for _ in range(500):
        forked(input, sleep)
    sleep()


@job("forks-without-a-limit", timeout_s=BACKSTOP_S)
def forks_without_a_limit(ctx: BlockingContext, input: Trace) -> int:
    for _ in range(500):
        forked(input, sleep)
    return 500


@job("writes", max_output_mib=4, timeout_s=BACKSTOP_S, max_attempts=2)
def writes(ctx: BlockingContext, input: Trace) -> None:
    input.note(os.getpid())
    with (ctx.output_dir / "endless").open("wb") as file:
        while True:
            write_more(file.fileno())
            time.sleep(0.01)


@job("writes-as-a-task", max_output_mib=4, timeout_s=BACKSTOP_S)
async def writes_as_a_task(ctx: Context, input: Trace) -> None:
    with (ctx.work_dir / "endless").open("wb") as file:
        while True:
            write_more(file.fileno())
            await asyncio.sleep(0.01)


@job("writes-and-returns", max_output_mib=4)
def writes_and_returns(ctx: BlockingContext) -> None:
    (ctx.output_dir / "much").write_bytes(bytes(5 * MIB))


@job("writes-little", max_output_mib=4, memory_mib=512, cpu_s=60, max_pids=5)
def writes_little(ctx: BlockingContext) -> None:
    (ctx.output_dir / "little").write_bytes(bytes(3 * MIB))


@job("stays", keep_process=True, cpu_s=0.7)
def stays(ctx: BlockingContext) -> int:
    compute(0.4)
    return os.getpid()


def write_more(descriptor: int) -> None:
    """Not for ever, if nobody ends it."""
    if os.fstat(descriptor).st_size < 64 * MIB:
        os.write(descriptor, bytes(MIB))
