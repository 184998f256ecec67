"""What receivers of webhooks need from us: the secret that signs their requests, and a request to try them out."""

from typing import Annotated

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ....clock import utc_now
from ....domain.audit import Action, Entry
from ....domain.deliveries import SigningSecret
from ....domain.urls import MAX_URL_CHARS
from ....representation import instant
from ....service.options import URL_PATTERN
from ....settings import DAY_S
from ....validation import validate
from ...identity.gate import actor, caller, count_redelivery
from ...parts import parts
from ...requests.bodies import json_body
from ...requests.query import NoQuery, query
from ...responses.json import json_response, not_kept

LONGEST_OVERLAP_S = 7 * DAY_S
MAX_BODY_BYTES = 16 * 1024


class CamelModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class SecretView(CamelModel):
    """A secret that signs one's webhooks, without the secret itself."""

    fingerprint: str = Field(description="the beginning of the SHA-256 of the secret's text, in hexadecimal")
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = Field(description="until when it signs; null for the current one")
    revealed_at: AwareDatetime | None = Field(description="when its text was given out; null: not yet")


class RevealedSecretView(SecretView):
    """A secret with its text, which is given out once."""

    secret: str = Field(description="as libraries of Standard Webhooks take it: `whsec_` and Base64")


class Rotation(CamelModel):
    """How long the old secrets sign as well."""

    overlap_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=LONGEST_OVERLAP_S,
            description="How long the old secrets sign as well. 0 if one has leaked: then they end at once.",
        ),
    ] = DAY_S


class TestOrder(CamelModel):
    """Where to send the test."""

    url: str = Field(
        max_length=MAX_URL_CHARS,
        description="An http(s) URL with a public address.",
        json_schema_extra={"pattern": URL_PATTERN},
    )


class TestView(CamelModel):
    """What came of the test."""

    delivery_id: str = Field(description="the `webhook-id` that the receiver got")
    url: str
    delivered: bool = Field(description="whether the receiver answered with a success")
    status: int | None = Field(description="the status of the response, if there was one")
    error: str | None
    took_seconds: float


async def list_secrets(request: web.Request) -> web.Response:
    """`GET /webhooks/secret`: without their texts, so it may be repeated."""
    query(request, NoQuery)
    signing = await parts(request).service.deliveries.secrets(caller(request))
    return _answer(request, {"secrets": [_fields(secret) for secret in signing]})


async def reveal_secret(request: web.Request) -> web.Response:
    """`POST /webhooks/secret/reveal`: the current secret's text, once."""
    query(request, NoQuery)
    count_redelivery(request)
    secret = await parts(request).service.deliveries.reveal_secret(caller(request))
    return _answer(request, _revealed(secret))


async def rotate_secret(request: web.Request) -> web.Response:
    """`POST /webhooks/secret/rotate`: a new secret, with its text."""
    query(request, NoQuery)
    count_redelivery(request)
    wanted = Rotation()
    if request.can_read_body:
        wanted = validate(Rotation, await json_body(request, MAX_BODY_BYTES))
    secret = await parts(request).service.deliveries.rotate_secret(caller(request), wanted.overlap_seconds)
    return _answer(request, _revealed(secret), status=201)


async def send_test(request: web.Request) -> web.Response:
    """`POST /webhooks/test`: send a request now, and tell what came of it."""
    query(request, NoQuery)
    count_redelivery(request)
    wanted = validate(TestOrder, await json_body(request, MAX_BODY_BYTES))
    probe = await parts(request).service.deliveries.probe(caller(request), wanted.url)
    asking = caller(request)
    await parts(request).audit.append([Entry(utc_now(), actor(request), Action.TEST_WEBHOOK, asking.owner)])
    fields = {
        "deliveryId": probe.id,
        "url": probe.url,
        "delivered": probe.error is None,
        "status": probe.status,
        "error": probe.error,
        "tookSeconds": round(probe.took_s, 3),
    }
    return _answer(request, fields)


def _fields(secret: SigningSecret) -> dict[str, str | None]:
    return {
        "fingerprint": secret.fingerprint,
        "createdAt": instant(secret.created_at),
        "expiresAt": instant(secret.expires_at),
        "revealedAt": instant(secret.revealed_at),
    }


def _revealed(secret: SigningSecret) -> dict[str, str | None]:
    return {**_fields(secret), "secret": secret.text}


def _answer(request: web.Request, fields: object, *, status: int = 200) -> web.Response:
    return json_response(to_json(fields), status=status, headers=not_kept(request))
