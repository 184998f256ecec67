"""Query parameters that select jobs, for lists and streams."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from ...domain.filters import CURSOR_PATTERN, JobFilter, Order, terms_of
from ...domain.jobs import Status
from ...service.options import MAX_METADATA, METADATA_NAME, METADATA_VALUE, Instant, MetadataOption


class QueryModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


Ids = Annotated[frozenset[str], Field(max_length=500)]


METADATA = "metadata."
"""What the parameters begin with that ask for metadata: `metadata.order=4711`."""


def _in_parameters(given: Any) -> Any:
    if isinstance(given, str):
        raise ValueError("is asked for as metadata.NAME=VALUE")  # noqa: TRY004 - becomes one of pydantic's errors
    return given


_PARAMETERS = {
    "type": "object",
    "patternProperties": {rf"^metadata\.{METADATA_NAME}$": METADATA_VALUE},
    "additionalProperties": False,
    "maxProperties": MAX_METADATA,
    "description": "`metadata.NAME=VALUE`: jobs with this value under this name; of several, all have to match.",
}


def _searchable(query: str) -> str:
    terms_of(query)
    return query


class MetadataQuery(QueryModel):
    """Jobs by what their clients have tied to them."""

    metadata: Annotated[MetadataOption, BeforeValidator(_in_parameters), WithJsonSchema(_PARAMETERS)] = Field(
        default_factory=dict, max_length=MAX_METADATA
    )

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Names and values."""
        return frozenset(self.metadata.items())


class FilterQuery(MetadataQuery):
    """Which jobs a stream follows; the values of one parameter are alternatives."""

    type: frozenset[str] = frozenset()
    status: frozenset[Status] = frozenset()
    ids: Ids = frozenset()

    def as_filter(self) -> JobFilter:
        return JobFilter(statuses=self.status, types=self.type, ids=self.ids, metadata=self.pairs)


class Selection(MetadataQuery):
    """Which jobs of one type, or of some types, are selected."""

    status: frozenset[Status] = frozenset()
    ids: Ids = frozenset()
    label: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    updated_after: Instant | None = None
    q: Annotated[str, Field(max_length=200), AfterValidator(_searchable)] | None = Field(
        None,
        description="Words in the label, and in the message of a job that runs or has ended: all of them, in upper or "
        "lower case. `report*` stands for all words that begin so.",
    )

    def as_filter(self, types: frozenset[str]) -> JobFilter:
        return JobFilter(
            statuses=self.status,
            types=types,
            ids=self.ids,
            label=self.label,
            created_after=self.created_after,
            created_before=self.created_before,
            updated_after=self.updated_after,
            metadata=self.pairs,
            terms=frozenset() if self.q is None else terms_of(self.q),
        )


class PageQuery(Selection):
    """Which jobs of one type a list shows, and how many."""

    sort: Literal[
        "-createdAt", "createdAt", "-updatedAt", "updatedAt", "-completedAt", "completedAt", "-priority", "priority"
    ] = Field(
        "-createdAt",
        description="What the list is sorted by, with `-` from the last to the first. `completedAt`: only jobs that "
        "have ended are listed.",
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = Field(
        None, description="`nextCursor` of the page before.", json_schema_extra={"pattern": f"^{CURSOR_PATTERN}$"}
    )

    @property
    def order(self) -> Order:
        """The order of the list."""
        return Order.named(self.sort)


class ListQuery(PageQuery):
    """Which jobs of all types a list shows, and how many."""

    type: frozenset[str] = frozenset()
