"""`run` and `run_async`: one attempt of one handler, in this process.

What decides is the server's own code: the checks of submissions, contexts, dependencies, `running.executor`, the rules
for files. Only two things are a test's: the record is in memory, and a `def` handler is called in the test's thread, so
that a debugger stops in it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar, Unpack, overload

from pydantic import BaseModel

from .attempts import Run, RunOptions
from .clock import Clock, following
from .ran import Ran
from .server_log import logged
from .sleeping import SkippingLoop

R = TypeVar("R")
Input = BaseModel | Mapping[str, Any] | None


@overload
def run(
    handler: Callable[..., Coroutine[Any, Any, R]], input: Input = None, /, **options: Unpack[RunOptions]
) -> Ran[R]: ...


@overload
def run(handler: Callable[..., R], input: Input = None, /, **options: Unpack[RunOptions]) -> Ran[R]: ...


def run(handler: Callable[..., Any], input: Input = None, /, **options: Unpack[RunOptions]) -> Ran[Any]:
    """Run one attempt of a function that is decorated with `@job`, and return how it ended. For tests without a loop.

    `input` is a model or a dictionary, in which an upload can be `bytes` or a `Path`; it is checked as if it had been
    submitted. `options`: see `RunOptions`. Raises `InvalidError` for an input that the server would refuse.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises
        raise RuntimeError("this test has an event loop: write `await run_async(...)`")
    one = Run(handler, input, options)
    with ExitStack() as stack:
        stack.enter_context(logged())
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop  # uvloop's time cannot be moved
        if options.get("skip_sleeps"):
            factory = partial(SkippingLoop, stack.enter_context(Clock()))
        runner = stack.enter_context(asyncio.Runner(loop_factory=factory))
        runner.run(one.begin())
        with following(runner.get_loop(), one.look_again):
            if one.is_async:
                runner.run(one.perform())
            else:
                one.call()
        return runner.run(one.end())


@overload
async def run_async(
    handler: Callable[..., Coroutine[Any, Any, R]], input: Input = None, /, **options: Unpack[RunOptions]
) -> Ran[R]: ...


@overload
async def run_async(handler: Callable[..., R], input: Input = None, /, **options: Unpack[RunOptions]) -> Ran[R]: ...


async def run_async(handler: Callable[..., Any], input: Input = None, /, **options: Unpack[RunOptions]) -> Ran[Any]:
    """The same as `run` in the event loop of the test. A `def` handler keeps that loop from everything else."""
    if options.get("skip_sleeps"):
        raise ValueError("skip_sleeps is for `run`: this event loop is the test's, so move its time with a Clock")
    one = Run(handler, input, options)
    with logged():
        await one.begin()
        with following(asyncio.get_running_loop(), one.look_again):
            if one.is_async:
                await one.perform()
            else:
                one.call()
        return await one.end()
