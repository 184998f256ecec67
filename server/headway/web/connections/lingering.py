"""An answer given while its request is still coming: the connection ends so that the client can read it."""

import asyncio
import contextlib

from aiohttp import web

LINGER_S = 0.8
"""Less than what aiohttp leaves a request at shutdown (`shutdown_timeout`)."""


async def answer_and_linger(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send the answer, half-close, and read on until the client has closed or `LINGER_S` have passed (RFC 9112, 9.6).

    Closed at once, the connection would be reset by what the client still sends, and with it goes the answer:
    most clients do not look for one when sending fails. For use at shutdown, when aiohttp drops what it reads;
    at other times it lingers by itself.
    """
    response.force_close()
    with contextlib.suppress(OSError):  # TimeoutError among them; a client that goes is an exception of its body
        async with asyncio.timeout(LINGER_S):
            await response.prepare(request)
            await response.write_eof()
            if request.transport is None or request.transport.is_closing():
                return
            request.transport.write_eof()
            request.protocol.resume_reading()  # a body that came quicker than it was read has paused it
            await request.content.wait_eof()
