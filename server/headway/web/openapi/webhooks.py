"""Webhooks: the requests that receivers get, and the deliveries of a job."""

from collections.abc import Mapping

from ...domain.deliveries import DEFAULT_EVENTS, WebhookEvent
from ...representation import JobView
from ..endpoints.deliveries import DeliveryView
from ..requests.query import NoQuery
from .operation import (
    RATE_HEADERS,
    Answer,
    Operation,
    Operations,
    Schema,
    array,
    closed_object,
    json_content,
    link,
    ref,
)

SUMMARIES: Mapping[WebhookEvent, str] = {
    WebhookEvent.STARTED: "An attempt of a job has started",
    WebhookEvent.PROGRESS: "A job has made progress; at most every ten seconds, and only the latest state",
    WebhookEvent.COMPLETED: "A job has completed",
    WebhookEvent.FAILED: "A job has failed",
    WebhookEvent.CANCELLED: "A job was cancelled",
}

HEADERS: Mapping[str, Schema] = {
    "webhook-id": {
        "description": "The delivery's id: the same at every attempt, so that receivers can recognize duplicates.",
        "schema": {"type": "string"},
    },
    "webhook-timestamp": {
        "description": "The time of this attempt, in seconds since 1970.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "webhook-signature": {
        "description": "`v1,` and the HMAC-SHA256 of id, timestamp and body; several, separated by spaces, while a "
        "secret is being rotated.",
        "schema": {"type": "string", "pattern": "^v1,[A-Za-z0-9+/=]+( v1,[A-Za-z0-9+/=]+)*$"},
    },
}

OPERATIONS: Operations = {
    ("GET", "/jobs/{id}/deliveries"): Operation(
        id="listDeliveries",
        tag="webhooks",
        summary="List the deliveries of a job's webhook",
        description="Newest first. Finished deliveries are kept for up to a week; of progress, only the latest.",
        query=NoQuery,
        answers={
            200: Answer(
                description="The deliveries",
                content=json_content(closed_object(deliveries=array(ref(DeliveryView)))),
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
    ("POST", "/jobs/{id}/deliveries/{deliveryId}/redeliver"): Operation(
        id="redeliver",
        tag="webhooks",
        summary="Send a delivery again",
        description="With the same id and body, as soon as there is room, and with as many attempts as a new one.",
        query=NoQuery,
        answers={
            202: Answer(
                description="The delivery, now pending again",
                content=json_content(ref(DeliveryView)),
                sometimes=RATE_HEADERS,
                links={"list": link("listDeliveries", "List the deliveries", id="$request.path.id")},
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
}


def webhooks() -> Schema:
    """The requests that the server sends (OpenAPI 3.1, 4.8.1): one operation of the receiver for each event."""
    return {event.value: {"post": _operation(event)} for event in WebhookEvent}


def _operation(event: WebhookEvent) -> Schema:
    by_default = "" if event in DEFAULT_EVENTS else " Only if `webhookEvents` names it."
    body = closed_object(
        type={"const": event.value},
        timestamp={"type": "string", "format": "date-time", "description": "when it happened"},
        data=ref(JobView),
    )
    return {
        "operationId": f"hear-{event.value.replace('.', '-')}",
        "tags": ["webhooks"],
        "summary": SUMMARIES[event],
        "description": f"Signed as in Standard Webhooks. Deliveries may arrive out of order: a higher `data.version` "
        f"is newer.{by_default}",
        "security": [],  # the receiver's own affair
        "parameters": [{"name": name, "in": "header", "required": True, **header} for name, header in HEADERS.items()],
        "requestBody": {"required": True, "content": json_content(body)},
        "responses": {
            "2XX": {"description": "Received"},
            "410": {
                "description": "No longer wanted: pending deliveries fail, and jobs that were already submitted send "
                "nothing more here until a delivery of a later job, or a redelivered one, is accepted"
            },
            "default": {"description": "Not received: sent again later; 429 and 503 may set `Retry-After`"},
        },
    }
