"""The deliveries of webhooks: list a job's or all of them, and have one sent again."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ....domain.deliveries import Delivery, DeliveryFilter, DeliveryStatus, WebhookEvent
from ....domain.ids import JOB_ID
from ....representation import instant
from ....service.options import EventName, separated
from ...identity.gate import caller, count_list, count_redelivery
from ...parts import parts
from ...problems import RATE_LIMITS
from ...requests.filters import QueryModel
from ...requests.query import NoQuery, query
from ...responses.json import PRIVATE, json_response
from ...responses.paging import page_headers
from ...responses.representations import representation

MOST_SHOWN = 200


class DeliveryView(BaseModel):
    """One event sent to a receiver. `delivery_fields` returns exactly these fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    delivery_id: str = Field(description="the `webhook-id` that the receiver gets, the same at every attempt")
    job_id: str = Field(description="the job, which may be gone")
    event: EventName
    url: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: AwareDatetime
    next_attempt_at: AwareDatetime | None = Field(description="null while an attempt is in progress, and at the end")
    last_attempt_at: AwareDatetime | None
    delivered_at: AwareDatetime | None
    last_status: int | None = Field(description="the status of the receiver's last response, if there was one")
    last_error: str | None


def delivery_fields(delivery: Delivery) -> dict[str, Any]:
    return {
        "deliveryId": delivery.id,
        "jobId": delivery.job_id,
        "event": delivery.event.value,
        "url": delivery.url,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "createdAt": instant(delivery.created_at),
        "nextAttemptAt": instant(delivery.next_attempt_at),
        "lastAttemptAt": instant(delivery.last_attempt_at),
        "deliveredAt": instant(delivery.delivered_at),
        "lastStatus": delivery.last_status,
        "lastError": delivery.last_error,
    }


class DeliveriesQuery(QueryModel):
    """Which deliveries a list shows, and how many; comma-separated values are alternatives."""

    status: Annotated[frozenset[DeliveryStatus], BeforeValidator(separated)] = frozenset()
    event: Annotated[frozenset[WebhookEvent], BeforeValidator(separated)] = frozenset()
    host: Annotated[frozenset[str], BeforeValidator(separated), Field(max_length=20)] = Field(
        frozenset(), description="The receiver's host, with its port if the URL has one."
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = Field(
        None, description="`nextCursor` of the page before.", json_schema_extra={"pattern": f"^{JOB_ID}$"}
    )


async def list_all_deliveries(request: web.Request) -> web.Response:
    """`GET /webhooks/deliveries`: of all jobs."""
    wanted = query(request, DeliveriesQuery)
    await count_list(request)
    chosen = DeliveryFilter(statuses=wanted.status, events=wanted.event, hosts=wanted.host)
    async with parts(request).turns.of(caller(request).sees):
        page = await parts(request).service.deliveries.page(caller(request), chosen, wanted.limit, wanted.cursor)
        shown = [delivery_fields(delivery) for delivery in page.deliveries]
        body = to_json({"deliveries": shown, "nextCursor": page.next_cursor})
    return await representation(request, body, page_headers(request, page.next_cursor), secret=True)


async def list_deliveries(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/deliveries`"""
    query(request, NoQuery)
    found = await parts(request).service.deliveries.of_job(caller(request), request.match_info["id"], MOST_SHOWN)
    body = to_json({"deliveries": [delivery_fields(delivery) for delivery in found]})
    return await representation(request, body, PRIVATE, secret=True)


async def redeliver(request: web.Request) -> web.Response:
    """`POST /jobs/{id}/deliveries/{deliveryId}/redeliver`: recorded, and sent as soon as there is room."""
    query(request, NoQuery)
    count_redelivery(request)
    path = request.match_info
    delivery = await parts(request).service.deliveries.redeliver(caller(request), path["id"], path["deliveryId"])
    body = to_json(delivery_fields(delivery))
    headers = {**PRIVATE, **request.get(RATE_LIMITS, {})}
    return json_response(body, status=202, headers=headers)
