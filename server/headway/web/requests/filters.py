"""Query parameters that select jobs, for lists and streams."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ...domain.filters import JobFilter
from ...domain.ids import JOB_ID
from ...domain.jobs import Status
from ...service.options import Instant, separated


class QueryModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class FilterQuery(QueryModel):
    """Which jobs a stream follows; comma-separated values are alternatives."""

    type: Annotated[frozenset[str], BeforeValidator(separated)] = frozenset()
    status: Annotated[frozenset[Status], BeforeValidator(separated)] = frozenset()
    ids: Annotated[frozenset[str], BeforeValidator(separated), Field(max_length=500)] = frozenset()

    def as_filter(self) -> JobFilter:
        return JobFilter(statuses=self.status, types=self.type, ids=self.ids)


class PageQuery(QueryModel):
    """Which jobs of one type a list shows, and how many."""

    status: Annotated[frozenset[Status], BeforeValidator(separated)] = frozenset()
    label: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = Field(
        None, description="`nextCursor` of the page before.", json_schema_extra={"pattern": f"^{JOB_ID}$"}
    )

    def as_filter(self, types: frozenset[str]) -> JobFilter:
        return JobFilter(
            statuses=self.status,
            types=types,
            label=self.label,
            created_after=self.created_after,
            created_before=self.created_before,
        )


class ListQuery(PageQuery):
    """Which jobs of all types a list shows, and how many."""

    type: Annotated[frozenset[str], BeforeValidator(separated)] = frozenset()
