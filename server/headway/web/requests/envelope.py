"""The body of `POST /jobs`: type, input and options in one object."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from ...service.options import WEBHOOK_EVENTS, EventName, SubmitOptions, once_each


class Envelope(SubmitOptions):
    """A submission in one object. JSON has types, so `"5"` is not a priority; in a form every value is text."""

    model_config = ConfigDict(strict=True)

    type: str
    input: dict[str, Any] = Field(default_factory=dict)
    webhook_events: Annotated[list[EventName], AfterValidator(once_each)] = WEBHOOK_EVENTS
