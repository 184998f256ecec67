"""Job types that hand over whatever text they are told to, in every way that a handler has."""

import logging
from typing import Literal

from headway import BlockingContext, Context, JobFailed, job
from pydantic import BaseModel


class Odd(BaseModel):
    """`text` is written like a Python string, since JSON from clients may not hold lone surrogates."""

    text: str
    times: int = 1
    way: Literal["fail", "raise", "chain"] = "fail"


def fail(input: Odd) -> None:
    """Fail in the way that `input` says, with its text everywhere."""
    text = input.text.encode("ascii").decode("unicode_escape") * input.times
    if input.way == "fail":
        raise JobFailed(text, detail=text, type=text)
    error = RuntimeError(text)
    error.add_note(text)
    if input.way == "raise":
        raise error
    raise ExceptionGroup(text, [error]) from ValueError(text)


class Much(BaseModel):
    """How much of what to hand over."""

    what: Literal["message", "log", "print", "logging", "checkpoint", "result", "printed line"]
    megabytes: int


def hand_over(ctx: BlockingContext | Context, much: Much) -> object:
    """Returns the checkpoint or the result, if it is to be one."""
    text = "x" * much.megabytes * 1_000_000
    match much.what:
        case "message":
            ctx.progress(1, message=text, unit=text, step=text)
        case "log":
            ctx.log(text)
        case "printed line":
            print(text)  # noqa: T201
        case "print" | "logging":
            write = print if much.what == "print" else logging.getLogger("noise").info
            for _ in range(much.megabytes * 10_000):
                write("y" * 100)
        case _:
            return text
    return None


@job("much-process")
def much_process(ctx: BlockingContext, input: Much) -> object:
    given = hand_over(ctx, input)
    if input.what == "checkpoint":
        ctx.checkpoint(given)
    return given


@job("much-async")
async def much_async(ctx: Context, input: Much) -> object:
    given = hand_over(ctx, input)
    if input.what == "checkpoint":
        await ctx.checkpoint(given)
    return given


@job("odd-process")
def odd_process(ctx: BlockingContext, input: Odd) -> None:
    fail(input)


@job("odd-async")
async def odd_async(ctx: Context, input: Odd) -> None:
    fail(input)
