"""What a worker reports while it works: progress, log lines, checkpoints. Each response says whether to stop."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from ....errors import InvalidError
from ....limits import CHECKPOINT_BYTES, LOG_LINE_CHARS
from ....ports.work import Lease
from ....validation import validate
from ...parts import parts
from ...requests.bodies import JSON_TYPE, json_body, media_type, text_body
from ...requests.query import NoQuery, query
from .leases import CamelModel, in_use, named_lease, state_response

MAX_PROGRESS_BYTES = 16 * 1024
MAX_LINES = 1_000
PIECE_CHARS = 8 * 1024
"""Of log lines that are added before the loop goes round: two milliseconds' work at most, whatever is in them."""
LINE_CHARS = 32
"""What a line counts beyond its characters."""
TEXT = "text/plain"


def _as_sent(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """An integer stays one."""
    check(value)
    return value


Number = Annotated[float, Field(allow_inf_nan=False), WrapValidator(_as_sent)]
"""With a union of both, pydantic's errors would be two, and not at the field's place."""


class ProgressReport(CamelModel):
    """How far the job has got. What is left out stays as it was; an empty report only keeps the lease."""

    done: Number | None = None
    total: Number | None = None
    percent: Number | None = Field(None, description="0 to 100, for work without units")
    unit: str | None = None
    message: str | None = None
    step: str | None = None


class LogLineReport(CamelModel):
    """A line of the job's log."""

    message: str
    level: Literal["debug", "info", "warning", "error"] = "info"


class LogReport(CamelModel):
    """Lines of the job's log."""

    lines: Annotated[list[LogLineReport], Field(max_length=MAX_LINES)]


async def report_progress(request: web.Request) -> web.Response:
    """`POST /work/{type}/progress`: also the heartbeat, which needs no body."""
    query(request, NoQuery)
    lease = named_lease(request)
    with in_use(request, lease):
        report = validate(ProgressReport, await json_body(request, MAX_PROGRESS_BYTES, cleaned=True))
        values = report.model_dump(exclude_none=True)
        if values:
            lease.progress(**values)
    return state_response(request, lease)


async def add_lines(request: web.Request) -> web.Response:
    """`POST /work/{type}/logs`: as JSON, or as plain text, of which each line is one."""
    query(request, NoQuery)
    lease, most_bytes = named_lease(request), parts(request).settings.max_body_bytes
    with in_use(request, lease):
        if media_type(request) == TEXT:
            lines = [(line, "info") for line in text_lines(await text_body(request, most_bytes))]
        else:
            report = validate(LogReport, await json_body(request, most_bytes, (JSON_TYPE, TEXT), cleaned=True))
            lines = [(line.message, line.level) for line in report.lines]
        await write_lines(lease, lines)
    return state_response(request, lease)


def text_lines(text: str) -> list[str]:
    """The lines of a text, each of which ends with LF, CR LF or CR; blank ones are left out.

    Raises `InvalidError` if there are too many. Their ends are counted first, those of blank lines too, since splitting
    half a million lines would hold up the event loop.
    """
    if max(text.count("\n"), text.count("\r")) <= MAX_LINES:
        lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
        if len(lines) <= MAX_LINES:
            return lines
    raise InvalidError([("", f"has over {MAX_LINES:,} lines")])


async def write_lines(lease: Lease, lines: Sequence[tuple[str, str]]) -> None:
    """Add lines, each a message and its level, to the job's log. The event loop goes round between pieces of them.

    Raises `LeaseLostError` if the attempt ends meanwhile.
    """
    left = PIECE_CHARS
    for message, level in lines:
        lease.log(message, level)
        left -= LINE_CHARS + min(len(message), LOG_LINE_CHARS)
        if left <= 0:
            await asyncio.sleep(0)
            left = PIECE_CHARS


async def set_checkpoint(request: web.Request) -> web.Response:
    """`POST /work/{type}/checkpoint`: the body, any JSON, is durable when the response comes."""
    query(request, NoQuery)
    lease = named_lease(request)
    with in_use(request, lease):
        value = await json_body(request, CHECKPOINT_BYTES)
        try:
            await lease.checkpoint(value)
        except ValueError as error:
            raise InvalidError([("", str(error))]) from None
    return state_response(request, lease)
