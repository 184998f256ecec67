"""Job types that hand over whatever text they are told to, in every way that a handler has."""

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


@job("odd-process")
def odd_process(ctx: BlockingContext, input: Odd) -> None:
    fail(input)


@job("odd-async")
async def odd_async(ctx: Context, input: Odd) -> None:
    fail(input)
