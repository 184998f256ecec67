"""JSON that clients read repeatedly: with an `ETag`, a 304 for a client that has it already, and compressed if big."""

import asyncio
import hashlib
from collections.abc import Mapping

from aiohttp import web

from .encodings import encoded
from .headers import is_held
from .json import json_response

HASHED_IN_LOOP_BYTES = 256 * 1024
"""Up to this size, a hash takes a third of a millisecond."""
TAG_BYTES = 12


async def representation(
    request: web.Request, body: bytes, headers: Mapping[str, str], *, tag: str | None = None, secret: bool = False
) -> web.Response:
    """200 or 304. `tag` identifies the content; without one it is the body's hash.

    `secret`: it may hold a secret beside what somebody else chose, as the URL of a webhook beside its receiver's error,
    and is not compressed (see `encodings`).

    The ETag is weak, because it is the same for every encoding (RFC 9110, 8.8.3.3).
    """
    tag = tag or await _hash(body)
    vary = f"{headers['Vary']}, Accept-Encoding" if "Vary" in headers else "Accept-Encoding"
    headers = {**headers, "ETag": f'W/"{tag}"', "Vary": vary}
    if is_held(request, tag):
        return web.Response(status=304, headers=headers)
    sent, encoding = (body, {}) if secret else await encoded(request, body)
    return json_response(sent, headers={**headers, **encoding})


async def _hash(body: bytes) -> str:
    if len(body) <= HASHED_IN_LOOP_BYTES:
        return _hash_of(body)
    return await asyncio.to_thread(_hash_of, body)


def _hash_of(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=TAG_BYTES).hexdigest()
