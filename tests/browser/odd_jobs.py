"""Job types that hand over whatever text they are told to, in every field, and one whose declaration is odd itself."""

from contextlib import suppress
from typing import Any

from headway import Context, JobFailed, Upload, job
from pydantic import BaseModel, ConfigDict, Field

BREAKER = """</script><img src=x onerror="fetch('/owned')">{{7*7}}${7*7}' onmouseover='owned()'"""
ISOLATED = "\u202e\u2066gnitirw\u202e"
"""Overrides the direction of what comes after it, unless it is isolated."""


class Odd(BaseModel):
    """`text` is written like a Python string, since JSON from clients may not hold lone surrogates."""

    text: str
    document: Upload | None = None
    mark: str = ""
    fail: bool = False


@job("odd", title=f"Odd {BREAKER}", description=ISOLATED)
async def odd(ctx: Context, input: Odd) -> dict[str, Any]:
    text = input.text.encode("ascii").decode("unicode_escape")
    ctx.progress(1, 3, message=text, unit=text, step=text)
    ctx.log(text)
    ctx.log("a plain line")
    for name in (f"{text[:60]}.txt", "plain.txt"):
        with suppress(OSError, ValueError):  # what no file can be called
            (ctx.output_dir / name).write_text(text.encode("utf-8", "replace").decode())
    if input.fail:
        raise JobFailed(text, detail=text, type=text)
    shown = text.encode("utf-8", "replace").decode()
    return {shown: shown, "__proto__": shown, "constructor": shown}


class OddForm(BaseModel):
    """Names, titles, defaults and choices that break a page that trusts them."""

    model_config = ConfigDict(title=BREAKER)

    prototype: str = Field(BREAKER, alias="__proto__", title=f"{BREAKER}{'long' * 500}", description=ISOLATED)
    made_by: str = Field("constructor", alias="constructor", examples=[BREAKER])
    choice: str = Field(BREAKER, json_schema_extra={"enum": [BREAKER, ISOLATED, "\u0301" * 200, "toString"]})
    markup: str = Field("", alias='"><script>owned()</script>', title="\n\u2028\u200b")


@job("odd-form", title=f"{ISOLATED}{'wide' * 200}")
async def odd_form(ctx: Context, input: OddForm) -> None: ...


@job("odd-reason", title="Closed", unavailable=lambda: f"{ISOLATED} {BREAKER}")
async def odd_reason(ctx: Context) -> None: ...
