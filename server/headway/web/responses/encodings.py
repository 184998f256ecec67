"""Compressed responses: gzip and zstd, as `Accept-Encoding` says (RFC 9110, 12.5.3). Only big JSON, never streams.

Where a response mixes a secret with what an attacker chose, its compressed size gives the secret away to somebody who
can cause requests and watch the network (BREACH). So endpoints ask for compression one by one, and those whose
responses hold tickets, secrets or the URLs of webhooks, or echo the request, as problems do, do not. A request that a
page of another origin caused gets its response as it is.
"""

import asyncio
import gzip
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from importlib import import_module

from aiohttp import hdrs, web

from ..identity.origins import OWN_SITES, SEC_FETCH_SITE
from ..negotiation import weights
from ..parts import parts

BIG_BYTES = 8 * 1024
"""Less than this fits into a few packets, and is not worth a thread."""
GZIP_LEVEL = 5
ZSTD_LEVEL = 3

Compress = Callable[[bytes], bytes]


def _codings() -> Mapping[str, Compress]:
    """Those that this Python has, better ones first. Python has zstd from 3.14 on; before, it is an extra."""
    found: dict[str, Compress] = {}
    for module in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            found.setdefault("zstd", partial(import_module(module).compress, level=ZSTD_LEVEL))
    found["gzip"] = partial(gzip.compress, compresslevel=GZIP_LEVEL, mtime=0)
    return found


CODINGS = _codings()


def coding_for(request: web.BaseRequest, size_bytes: int) -> str | None:
    """The content coding of a body of this size; `None`: it is sent as it is."""
    if size_bytes < BIG_BYTES:
        return None
    accept = request.headers.get(hdrs.ACCEPT_ENCODING)
    if accept is None or hdrs.ORIGIN in request.headers:
        return None
    return _preferred(accept) if request.headers.get(SEC_FETCH_SITE, "none") in OWN_SITES else None


@lru_cache(maxsize=64)
def _preferred(accept: str) -> str | None:
    given = weights(accept)
    offered = {name: given.get(name, given.get("*", 0.0)) for name in CODINGS}
    best = max(offered, key=offered.__getitem__)
    return best if offered[best] > 0 and offered[best] >= given.get("identity", 0.0) else None


async def encoded(request: web.Request, body: bytes) -> tuple[bytes, dict[str, str]]:
    """The body as it is sent, and the header that says how it is compressed, if it is.

    One is compressed at a time, in a thread. While that one takes, others are sent as they are, instead of waiting.
    """
    coding, compressing = coding_for(request, len(body)), parts(request).compressing
    if coding is None or compressing.locked():
        return body, {}
    async with compressing:
        return await asyncio.to_thread(CODINGS[coding], body), {"Content-Encoding": coding}
