"""Submission options: query parameters of `POST /jobs/{type}`, fields of the envelope."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from ...domain.urls import MAX_URL_CHARS
from ...settings import DAY_S

MAX_LABEL_CHARS = 200
LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Beyond it a sum with the shortest duration could not be represented."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _printable(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):  # noqa: PLR2004 - ASCII's control characters
        raise ValueError("must not contain control characters")
    return text


def _rfc3339(value: Any) -> Any:
    """Pydantic alone would take Unix timestamps and shorter forms too, and 400 characters of fraction."""
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
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


Instant = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_rfc3339), AfterValidator(_to_utc)]
"""A point in time in a request: RFC 3339; in UTC and to the millisecond from here on."""


EventName = Literal["job.started", "job.progress", "job.completed", "job.failed", "job.cancelled"]


def separated(value: Any) -> Any:
    """A list that is written as text: in a query, or in a part of a form."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _once_each(events: list[EventName]) -> list[EventName]:
    return sorted(set(events))


_WEBHOOK_URL = Field(
    max_length=MAX_URL_CHARS,
    description="Who is told of the job: an http(s) URL, of a public address.",
    json_schema_extra={"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
)
_WEBHOOK_EVENTS: Any = Field(
    default_factory=list,
    description="Of what; by default of all but `job.progress`.",
)

_LABEL = Field(max_length=MAX_LABEL_CHARS, json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f]*$"})


class SubmitOptions(BaseModel):
    """How a job is to be run: query parameters of `POST /jobs/{type}`, fields of the envelope."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    label: Annotated[str, _LABEL, AfterValidator(_printable)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    run_at: Instant | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=30 * DAY_S, allow_inf_nan=False)] | None = None
    retain_seconds: Annotated[float, Field(ge=0, le=366 * DAY_S, allow_inf_nan=False)] | None = None
    webhook_url: Annotated[str, _WEBHOOK_URL] | None = None
    webhook_events: Annotated[list[EventName], BeforeValidator(separated), AfterValidator(_once_each)] = _WEBHOOK_EVENTS


class Envelope(SubmitOptions):
    """The body of `POST /jobs`. JSON has types, so `"5"` is no priority; in a form everything is text."""

    model_config = ConfigDict(strict=True)

    type: str
    input: dict[str, Any] = Field(default_factory=dict)
    webhook_events: Annotated[list[EventName], AfterValidator(_once_each)] = _WEBHOOK_EVENTS
