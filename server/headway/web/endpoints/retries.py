"""`POST /jobs/{id}/retry`"""

from aiohttp import web

from ...service.options import UNCHANGED, RetryChanges
from ...validation import validate
from ..identity.gate import caller, count_submission
from ..parts import parts
from ..requests.bodies import json_body
from ..requests.idempotency import given_key
from ..requests.query import NoQuery, query
from .submissions import accepted_response


async def retry_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/{id}/retry`: a new job with the same inputs, uploads included, or with changes."""
    count_submission(request)
    query(request, NoQuery)
    key = given_key(request)
    changes = validate(RetryChanges, await json_body(request)) if request.body_exists else UNCHANGED
    repeating = parts(request).service.repeating
    accepted = await repeating.repeat(caller(request), request.match_info["id"], key, changes)
    return await accepted_response(request, accepted)
