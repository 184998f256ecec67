"""`POST /jobs/{id}/retry`"""

from aiohttp import web

from ..identity.gate import caller, count_submission
from ..parts import parts
from ..requests.idempotency import given_key
from ..requests.query import NoQuery, query
from .submissions import accepted_response


async def retry_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/{id}/retry`: a new job with the same inputs, uploads included."""
    count_submission(request)
    query(request, NoQuery)
    key = given_key(request)
    accepted = await parts(request).service.repeating.repeat(caller(request), request.match_info["id"], key)
    return await accepted_response(request, accepted)
