"""The deliveries of a job's webhook: list them, and have one sent again."""

from typing import Any, Literal

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ...domain.deliveries import Delivery
from ...representation import instant
from ...service.options import EventName
from ..identity.gate import caller, count_redelivery
from ..parts import parts
from ..problems import RATE_LIMITS
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE

MOST_SHOWN = 200


class DeliveryView(BaseModel):
    """One event sent to a receiver. `delivery_fields` returns exactly these fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    delivery_id: str = Field(description="the `webhook-id` that the receiver gets, the same at every attempt")
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


async def list_deliveries(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/deliveries`"""
    query(request, NoQuery)
    found = await parts(request).service.deliveries.of_job(caller(request), request.match_info["id"], MOST_SHOWN)
    body = to_json({"deliveries": [delivery_fields(delivery) for delivery in found]})
    return web.Response(body=body, headers=PRIVATE, content_type="application/json")


async def redeliver(request: web.Request) -> web.Response:
    """`POST /jobs/{id}/deliveries/{deliveryId}/redeliver`: recorded, and sent as soon as there is room."""
    query(request, NoQuery)
    count_redelivery(request)
    path = request.match_info
    delivery = await parts(request).service.deliveries.redeliver(caller(request), path["id"], path["deliveryId"])
    body = to_json(delivery_fields(delivery))
    headers = {**PRIVATE, **request.get(RATE_LIMITS, {})}
    return web.Response(status=202, body=body, headers=headers, content_type="application/json")
