"""Job types that hand over whatever text they are told to, in every way that a handler has."""

import logging
from contextlib import suppress
from typing import Literal

from headway import BlockingContext, Context, JobFailed, Upload, job
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


class Everywhere(BaseModel):
    """`text`, written like a Python string, is handed over in every way at once."""

    text: str
    document: Upload | None = None


def everywhere(ctx: BlockingContext | Context, input: Everywhere) -> dict[str, str]:
    text = input.text.encode("ascii").decode("unicode_escape")
    ctx.progress(1, 2, message=text, unit=text, step=text)
    ctx.log(text, level=text)
    print(text)  # noqa: T201
    logging.getLogger("odd").warning("%s", text)
    with suppress(ValueError):  # what no URL can hold
        ctx.result_url = f"/{text}"
        ctx.result_url = None
    with suppress(OSError, ValueError):  # what no file can be called
        (ctx.output_dir / text).write_text("x")
    if "fail" in input.text:
        raise JobFailed(text, detail=text, type=text)
    if "raise" in input.text:
        raise RuntimeError(text)
    return {"result": text.encode("utf-8", "replace").decode()}


@job("everywhere-process", title="\ud800\x1b[31mOdd\n", description="\0", unavailable=lambda: None)
def everywhere_process(ctx: BlockingContext, input: Everywhere) -> dict[str, str]:
    return everywhere(ctx, input)


@job("everywhere-async")
async def everywhere_async(ctx: Context, input: Everywhere) -> dict[str, str]:
    return everywhere(ctx, input)


def broken() -> str:
    raise RuntimeError("\ud800")


@job("oddly-unavailable", unavailable=lambda: "\ud800\x1b[31m" * 1_000)
def oddly_unavailable(ctx: BlockingContext) -> None: ...


@job("check-is-broken", unavailable=broken)
def check_is_broken(ctx: BlockingContext) -> None: ...
