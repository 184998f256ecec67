"""Submission options, the same whichever way a submission comes in."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from ..domain.instants import whole_ms
from ..domain.urls import MAX_URL_CHARS
from ..settings import DAY_S
from ..text import CONTROLS

MAX_LABEL_CHARS = 200
MAX_METADATA, MAX_METADATA_NAME_CHARS, MAX_METADATA_VALUE_CHARS = 20, 40, 200
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


URL_PATTERN = "^[Hh][Tt][Tt][Pp][Ss]?://"
_WEBHOOK_URL = Field(
    max_length=MAX_URL_CHARS,
    description="Where the job's events are sent: an http(s) URL with a public address.",
    json_schema_extra={"pattern": URL_PATTERN},
)
WEBHOOK_EVENTS: Any = Field(
    default_factory=list,
    description="Which events are sent; by default all except `job.progress`.",
)

_LABEL = Field(max_length=MAX_LABEL_CHARS, json_schema_extra={"pattern": f"^[^{CONTROLS}]*$"})


def from_text(value: Any) -> Any:
    """A JSON object given as text: in a query, or in a part of a form."""
    if not isinstance(value, str):
        return value
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError:
        raise ValueError("must be a JSON object") from None


METADATA_NAME = f"[A-Za-z0-9_.-]{{1,{MAX_METADATA_NAME_CHARS}}}"
METADATA_VALUE = {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS, "pattern": f"^[^{CONTROLS}]*$"}
"""The JSON Schema of a value."""
_METADATA_SCHEMA = {
    "type": "object",
    "maxProperties": MAX_METADATA,
    "propertyNames": {"pattern": f"^{METADATA_NAME}$"},
    "additionalProperties": METADATA_VALUE,
}
_PATCH_SCHEMA = {
    **_METADATA_SCHEMA,
    "additionalProperties": {"anyOf": [METADATA_VALUE, {"type": "null"}]},
}
_MetadataName = Annotated[str, Field(pattern=f"^{METADATA_NAME}$")]
_MetadataValue = Annotated[str, Field(max_length=MAX_METADATA_VALUE_CHARS), AfterValidator(_printable)]
MetadataOption = Annotated[dict[_MetadataName, _MetadataValue], WithJsonSchema(_METADATA_SCHEMA)]
METADATA: Any = Field(
    default_factory=dict,
    max_length=MAX_METADATA,
    description="Names and values for the client's own use. In a query or a form: a JSON object as text.",
)


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
    metadata: Annotated[MetadataOption, BeforeValidator(from_text)] = METADATA


class RetryChanges(BaseModel):
    """What is different in a repeated job. What is not given stays as it was; the label can be taken away by `null`."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)

    input: dict[str, Any] = Field(
        default_factory=dict,
        description="A JSON merge patch of the input (RFC 7396): fields to replace, and `null` for those to remove.",
    )
    label: Annotated[str, _LABEL, AfterValidator(_printable)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    run_at: Instant | None = None


class JobPatch(BaseModel):
    """What to change about a job: a JSON merge patch (RFC 7396). What is not given stays as it is.

    `null` takes back what was given: it becomes what it is for a submission that does not say.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)

    label: Annotated[str, _LABEL, AfterValidator(_printable)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = Field(None, description="While the job is queued.")
    run_at: Instant | None = Field(None, description="While the job is queued; `null` stands for its creation.")
    retain_seconds: Annotated[float, Field(ge=0, le=366 * DAY_S, allow_inf_nan=False)] | None = Field(
        None, description="From its end on, also if it has ended."
    )
    metadata: Annotated[dict[_MetadataName, _MetadataValue | None], WithJsonSchema(_PATCH_SCHEMA)] | None = Field(
        None, description="Names to add or replace, and `null` for those to remove; `null` removes all."
    )


UNCHANGED = RetryChanges()
