"""Submission options, the same whichever way a submission comes in."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from ..domain.instants import whole_ms
from ..domain.urls import MAX_URL_CHARS
from ..settings import DAY_S
from ..text import CONTROLS

MAX_LABEL_CHARS = 200
LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Later instants plus a retention period could not be represented."""
_CONTROL = re.compile(f"[{CONTROLS}]")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _rfc3339(value: Any) -> Any:
    """Stricter than pydantic, which also accepts Unix timestamps, shorter forms and 400 digits of fraction."""
    if isinstance(value, datetime):  # from a caller in Python
        return value
    if isinstance(value, str) and len(value) <= 64 and _INSTANT.fullmatch(value):  # noqa: PLR2004
        return value
    raise ValueError("must be an instant like 2026-01-31T12:00:00Z (RFC 3339)")


def _to_utc(at: datetime) -> datetime:
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None
    if utc > LAST_INSTANT:
        raise ValueError("is out of range")
    return whole_ms(utc)


Instant = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_rfc3339), AfterValidator(_to_utc)]
"""An instant in a request, in RFC 3339's format; converted to UTC and cut to milliseconds."""


EventName = Literal["job.started", "job.progress", "job.completed", "job.failed", "job.cancelled"]


def separated(value: Any) -> Any:
    """A list given as comma-separated text: in a query, or in a part of a form."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def once_each(events: list[EventName]) -> list[EventName]:
    return sorted(set(events))


_WEBHOOK_URL = Field(
    max_length=MAX_URL_CHARS,
    description="Where the job's events are sent: an http(s) URL with a public address.",
    json_schema_extra={"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
)
WEBHOOK_EVENTS: Any = Field(
    default_factory=list,
    description="Which events are sent; by default all except `job.progress`.",
)

_LABEL = Field(max_length=MAX_LABEL_CHARS, json_schema_extra={"pattern": f"^[^{CONTROLS}]*$"})


class SubmitOptions(BaseModel):
    """How a job is to be run. Clients write the names in camelCase; Python callers may use the fields' own names."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    label: Annotated[str, _LABEL, AfterValidator(_printable)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    run_at: Instant | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=30 * DAY_S, allow_inf_nan=False)] | None = None
    retain_seconds: Annotated[float, Field(ge=0, le=366 * DAY_S, allow_inf_nan=False)] | None = None
    webhook_url: Annotated[str, _WEBHOOK_URL] | None = None
    webhook_events: Annotated[list[EventName], BeforeValidator(separated), AfterValidator(once_each)] = WEBHOOK_EVENTS
