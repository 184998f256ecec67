"""Webhooks: the requests that receivers get, their deliveries, and the secrets that sign them."""

from collections.abc import Mapping

from ...domain.deliveries import DEFAULT_EVENTS, TEST_EVENT, WebhookEvent
from ...representation import JobView
from ..endpoints.webhooks.deliveries import DeliveriesQuery, DeliveryView
from ..endpoints.webhooks.secrets import RevealedSecretView, Rotation, SecretView, TestOrder, TestView
from ..requests.query import NoQuery
from . import examples
from .operation import (
    RATE_HEADERS,
    Operation,
    Operations,
    Schema,
    answered,
    array,
    closed_object,
    json_content,
    link,
    or_null,
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

BODY_PROBLEMS = ("body-timeout", "too-large", "unsupported-media-type")

OPERATIONS: Operations = {
    ("GET", "/jobs/{id}/deliveries"): Operation(
        id="listDeliveries",
        tag="webhooks",
        summary="List the deliveries of a job's webhook",
        description="Newest first. Finished deliveries are kept for up to a week; of progress, only the latest.",
        query=NoQuery,
        conditional=True,
        answers={
            200: answered("The deliveries", closed_object(deliveries=array(ref(DeliveryView))), examples.DELIVERIES)
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
            202: answered(
                "The delivery, now pending again",
                ref(DeliveryView),
                examples.DELIVERY,
                sometimes=RATE_HEADERS,
                links={"list": link("listDeliveries", "List the deliveries", id="$request.path.id")},
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
    ("GET", "/webhooks/deliveries"): Operation(
        id="listAllDeliveries",
        tag="webhooks",
        summary="List the deliveries for all jobs",
        description="Newest first, in pages. A page may be short, even empty, and have a next one: how many deliveries "
        "one page looks at is limited.",
        query=DeliveriesQuery,
        conditional=True,
        answers={
            200: answered(
                "A page",
                closed_object(deliveries=array(ref(DeliveryView)), nextCursor=or_null("string")),
                examples.ALL_DELIVERIES,
                sometimes=("Link",),
                links={"next": link("listAllDeliveries", "The next page", cursor="$response.body#/nextCursor")},
            )
        },
        problems=("store-unavailable",),
    ),
    ("GET", "/webhooks/secret"): Operation(
        id="listWebhookSecrets",
        tag="webhooks",
        summary="List the secrets that sign one's webhooks",
        description="The current one first, without their texts.",
        query=NoQuery,
        answers={200: answered("The secrets", closed_object(secrets=array(ref(SecretView))), examples.SECRETS)},
        problems=("store-unavailable",),
    ),
    ("POST", "/webhooks/secret/reveal"): Operation(
        id="revealWebhookSecret",
        tag="webhooks",
        summary="Read the current secret, once",
        description="If you have lost it, rotate it.",
        query=NoQuery,
        answers={200: answered("The secret", ref(RevealedSecretView), examples.REVEALED, sometimes=RATE_HEADERS)},
        problems=("gone", "store-unavailable"),
    ),
    ("POST", "/webhooks/secret/rotate"): Operation(
        id="rotateWebhookSecret",
        tag="webhooks",
        summary="Replace the secret",
        description="The response has the new secret's text. The old ones sign as well for `overlapSeconds`, so that "
        "receivers can change theirs in time.",
        query=NoQuery,
        content=json_content(ref(Rotation), examples.ROTATION),
        answers={201: answered("The new secret", ref(RevealedSecretView), examples.REVEALED, sometimes=RATE_HEADERS)},
        problems=(*BODY_PROBLEMS, "too-many-secrets", "store-unavailable"),
    ),
    ("POST", "/webhooks/test"): Operation(
        id="testWebhook",
        tag="webhooks",
        summary="Send a test to a receiver",
        description="One signed request of type `webhook.test`, sent now and once; the response says what came of it.",
        query=NoQuery,
        content=json_content(ref(TestOrder), examples.TEST),
        content_required=True,
        answers={200: answered("What came of it", ref(TestView), examples.TESTED, sometimes=RATE_HEADERS)},
        problems=(*BODY_PROBLEMS, "too-many-waits", "store-unavailable"),
    ),
}


def webhooks() -> Schema:
    """The requests that the server sends (OpenAPI 3.1, 4.8.1): one operation of the receiver for each event."""
    return {**{event.value: {"post": _of_event(event)} for event in WebhookEvent}, TEST_EVENT: {"post": _of_test()}}


def _of_event(event: WebhookEvent) -> Schema:
    by_default = "" if event in DEFAULT_EVENTS else " Only if `webhookEvents` names it."
    return _operation(
        event.value,
        SUMMARIES[event],
        f"Deliveries may arrive out of order: a higher `data.version` is newer.{by_default}",
        ref(JobView),
        {
            "410": {
                "description": "No longer wanted: pending deliveries fail, and jobs that were already submitted send "
                "nothing more here until a delivery of a later job, or a redelivered one, is accepted"
            },
            "default": {"description": "Not received: sent again later; 429 and 503 may set `Retry-After`"},
        },
    )


def _of_test() -> Schema:
    about = "Sent once, when the owner asks for it with `POST /webhooks/test`. It announces nothing."
    data = closed_object(message={"type": "string"})
    default = {"default": {"description": "Not received: the response to the request for the test says so"}}
    return _operation(TEST_EVENT, "A test of the receiver", about, data, default)


def _operation(event: str, summary: str, about: str, data: Schema, failures: Schema) -> Schema:
    body = closed_object(
        type={"const": event},
        timestamp={"type": "string", "format": "date-time", "description": "when it happened"},
        data=data,
    )
    return {
        "operationId": f"hear-{event.replace('.', '-')}",
        "tags": ["webhooks"],
        "summary": summary,
        "description": f"Signed as in Standard Webhooks. {about}",
        "security": [],  # the receiver's own affair
        "parameters": [{"name": name, "in": "header", "required": True, **header} for name, header in HEADERS.items()],
        "requestBody": {"required": True, "content": json_content(body)},
        "responses": {"2XX": {"description": "Received"}, **failures},
    }
