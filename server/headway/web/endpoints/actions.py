"""`POST /jobs/actions`: one request that cancels, purges or retries many jobs."""

from typing import Annotated, Any, Self

from aiohttp import web
from pydantic import ConfigDict, Field, model_validator

from ...domain.filters import JobFilter
from ...domain.ids import JOB_ID
from ...ports.actions import ActionKind
from ...service.many.acting import ActionRequest
from ...service.options import MAX_METADATA, MetadataOption
from ...validation import validate
from ..identity.gate import caller, count_submission
from ..identity.penalties import PENALTIES
from ..parts import parts
from ..requests.bodies import json_body
from ..requests.filters import QueryModel, Selection
from ..requests.idempotency import given_key
from ..requests.query import NoQuery, query
from .submissions import accepted_response

MAX_IDS = 1_000


def _narrow(schema: dict[str, Any]) -> None:
    """Describe each field as it has to be if it is given: not null, and not empty."""
    for name, field in schema["properties"].items():
        given = dict(field)
        choices = [choice for choice in given.pop("anyOf", ()) if choice != {"type": "null"}]
        given.pop("default", None)
        for choice in choices:
            given |= choice
        if given.get("type") == "array":
            given["minItems"] = 1
        elif given.get("type") == "object":
            given["minProperties"] = 1
        schema["properties"][name] = given


def _describe_filter(schema: dict[str, Any]) -> None:
    _narrow(schema)
    schema["minProperties"] = 1


def _describe_body(schema: dict[str, Any]) -> None:
    _narrow(schema)
    schema["oneOf"] = [{"required": ["ids"]}, {"required": ["filter"]}]


class ActionFilter(Selection):
    """Which jobs: those that a list with the same parameters would show, in a state that this can be done to."""

    model_config = ConfigDict(json_schema_extra=_describe_filter)

    type: frozenset[str] = frozenset()
    metadata: MetadataOption = Field(default_factory=dict, max_length=MAX_METADATA)

    @model_validator(mode="after")
    def _restricts(self) -> Self:
        """What restricts nothing selects all jobs: by mistake, more often than not."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if not given:
            raise ValueError("must have at least one field; for all jobs, name every status")
        for name, value in given.items():
            if value in (None, frozenset(), {}):
                raise ValueError(f"{type(self).model_fields[name].alias or name} must not be empty")
        return self

    def selected(self) -> JobFilter:
        """The filter that lists use."""
        return self.as_filter(self.type)


class ActionBody(QueryModel):
    """What is to be done, and to which jobs: either those with these ids, or those that match the filter."""

    model_config = ConfigDict(json_schema_extra=_describe_body)

    action: ActionKind
    ids: (
        Annotated[list[Annotated[str, Field(pattern=f"^{JOB_ID}$")]], Field(min_length=1, max_length=MAX_IDS)] | None
    ) = None
    filter: ActionFilter | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("must have either ids or a filter")
        return self

    def as_request(self, asked: dict[str, Any]) -> ActionRequest:
        """`asked`: the same as it was sent."""
        if self.filter is not None:
            return ActionRequest(kind=self.action, filter=self.filter.selected(), asked=_without_null(asked))
        ids = tuple(dict.fromkeys(self.ids or ()))
        return ActionRequest(kind=self.action, ids=ids, asked=_without_null(asked) | {"ids": list(ids)})


def _without_null(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


async def create_action(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/actions`: 202 and a job, which is followed like any other."""
    count_submission(request)
    key, asking = given_key(request), caller(request)
    query(request, NoQuery)
    service = parts(request).service
    first = None if key is None else await service.submitting.first_with(asking, key)
    if first is None:
        request.app[PENALTIES].check(request)
        service.acting.check_room(asking)
    fields = await json_body(request)
    wanted = validate(ActionBody, fields).as_request(fields)
    return await accepted_response(request, await service.acting.submit(asking, wanted, key, first))
