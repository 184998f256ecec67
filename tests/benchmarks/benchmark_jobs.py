"""Job types for benchmarks, some of which measure themselves."""

import asyncio
import io
import itertools
import time
from collections.abc import Callable

from headway import BlockingContext, Context, job
from pydantic import BaseModel
from tqdm import tqdm

from tests.benchmarks.streams.producing import by_the_clock, on_demand, stamp

FRAMES = 1_000_000
"""The total of the publishing handlers: out of reach, so that no frame is the last."""
NOW_AND_THEN_S = 1 / 3


class Calls(BaseModel):
    calls: int
    rounds: int


class Spin(BaseModel):
    cpu_s: float


Measured = dict[str, list[float]]


def _done(ctx: BlockingContext | Context, calls: int) -> None:
    for number in range(calls):
        ctx.progress(done=number)


def _all(ctx: BlockingContext | Context, calls: int) -> None:
    for number in range(calls):
        ctx.progress(done=number, total=calls, message="halfway", step="resizing")


def _tqdm(_: BlockingContext | Context, calls: int) -> None:
    with tqdm(total=calls, file=io.StringIO()) as bar:
        for _number in range(calls):
            bar.update(1)


def _nothing(_: BlockingContext | Context, calls: int) -> None:
    for _number in range(calls):
        pass


def _ns(body: Callable[[BlockingContext | Context, int], None], ctx: BlockingContext | Context, calls: int) -> float:
    started = time.perf_counter_ns()
    body(ctx, calls)
    return (time.perf_counter_ns() - started) / calls


def _measure(ctx: BlockingContext | Context, measured: Measured, calls: int) -> None:
    empty = _ns(_nothing, ctx, calls)
    for name, body in (("done", _done), ("done_total_message", _all), ("tqdm", _tqdm)):
        measured.setdefault(name, []).append(_ns(body, ctx, calls) - empty)


@job("time-progress-process")
def time_process(ctx: BlockingContext, input: Calls) -> Measured:
    measured: Measured = {}
    for _ in range(input.rounds):
        _measure(ctx, measured, input.calls)
        started = time.perf_counter_ns()
        for _number in ctx.track(range(input.calls)):
            pass
        measured.setdefault("track", []).append((time.perf_counter_ns() - started) / input.calls)
    return measured


@job("time-progress-async")
async def time_async(ctx: Context, input: Calls) -> Measured:
    measured: Measured = {}
    for _ in range(input.rounds):
        _measure(ctx, measured, input.calls)
        started = time.perf_counter_ns()
        async for _number in ctx.track(range(input.calls)):
            pass
        measured.setdefault("track", []).append((time.perf_counter_ns() - started) / input.calls)
    return measured


@job("spin")
def spin(ctx: BlockingContext, input: Spin) -> int:
    """Keeps a core busy until it has used this much CPU time, or is cancelled."""
    rounds = 0
    end = time.process_time() + input.cpu_s
    while time.process_time() < end:
        rounds += 1
        if not rounds % 1000:
            ctx.progress(done=rounds)
            ctx.raise_if_cancelled()
    return rounds


class Wait(BaseModel):
    seconds: float


@job("one-slot", concurrency=1)
async def one_slot(ctx: Context, input: Wait) -> None:
    """Occupies the type's only slot for a while."""
    await asyncio.sleep(input.seconds)


@job("noop")
async def noop(ctx: Context) -> None:
    """Does nothing."""


class Control(BaseModel):
    port: int


class Pace(Control):
    updates: int
    per_second: float


@job("report-once")
async def report_once(ctx: Context) -> None:
    """Publishes one frame and waits for ever."""
    ctx.progress(done=1, total=FRAMES, unit="frames", message=stamp())
    await asyncio.Event().wait()


@job("publish-on-demand")
async def publish_on_demand(ctx: Context, input: Control) -> None:
    """One job with many watchers: an update for each byte that the load generator sends."""
    async for number in on_demand(input.port):
        ctx.progress(done=number, total=FRAMES, unit="frames", message=stamp())


@job("publish-by-the-clock")
async def publish_by_the_clock(ctx: Context, input: Pace) -> None:
    """One of many jobs: updates at a steady rate, once the load generator lets it begin."""
    async for number in by_the_clock(input.port, input.updates, input.per_second):
        ctx.progress(done=number, total=FRAMES, unit="frames", message=stamp())


@job("report-now-and-then")
async def report_now_and_then(ctx: Context) -> None:
    """A quiet job: each report comes after some ticks without any."""
    for number in itertools.count(1):
        await asyncio.sleep(NOW_AND_THEN_S)
        ctx.progress(done=number, total=FRAMES, unit="frames", message=stamp())


@job("report-now-and-then-in-a-process")
def report_now_and_then_in_a_process(ctx: BlockingContext) -> None:
    """The same in a process of its own."""
    for number in itertools.count(1):
        time.sleep(NOW_AND_THEN_S)
        ctx.progress(done=number, total=FRAMES, unit="frames", message=stamp())
