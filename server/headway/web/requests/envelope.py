"""The bodies that carry options: an envelope with type and input, or the fields of a resource with options beside."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from ...authoring.job_types import JobType
from ...errors import InvalidError
from ...service.options import METADATA, WEBHOOK_EVENTS, EventName, MetadataOption, SubmitOptions, once_each
from ...service.submission import Submission
from ...validation import validate


class BodyOptions(SubmitOptions):
    """The options in a JSON body. JSON has types, so `"5"` is not a priority; in a form every value is text."""

    model_config = ConfigDict(strict=True)

    webhook_events: Annotated[list[EventName], AfterValidator(once_each)] = WEBHOOK_EVENTS
    metadata: MetadataOption = METADATA


class Envelope(BodyOptions):
    """A submission in one object."""

    type: str
    input: dict[str, Any] = Field(default_factory=dict)


_ALIASES = {name: field.alias for name, field in BodyOptions.model_fields.items()}
_NAMES = frozenset(_ALIASES.values())


def with_options_beside(submission: Submission, job_type: JobType) -> Submission:
    """A submission whose input may have options beside its fields, with these among its options.

    A field of the type's input that is named like an option belongs to the input. Raises `InvalidError`.
    """
    fields, given = submission.fields, submission.options
    beside = {name: value for name, value in fields.items() if name in _NAMES}
    if beside:
        own = job_type.input_fields
        beside = {name: value for name, value in beside.items() if name not in own}
    if not beside:
        return submission
    in_body = validate(BodyOptions, beside)
    options = {name: getattr(in_body, name) for name in in_body.model_fields_set}
    if twice := options.keys() & given.model_fields_set:
        raise InvalidError([(f"/{_ALIASES[name]}", "is given in the query too") for name in sorted(twice)])
    rest = {name: value for name, value in fields.items() if name not in beside}
    return submission._replace(fields=rest, options=given.model_copy(update=options))
