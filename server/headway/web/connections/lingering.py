"""A response sent while its request is still arriving: the connection ends in a way that lets the client read it."""

import asyncio
import contextlib

from aiohttp import web

LINGER_S = 0.8
"""Less than the time that aiohttp gives requests at shutdown (`shutdown_timeout`)."""


async def answer_and_linger(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send the response, half-close, and read until the client closes or `LINGER_S` have passed (RFC 9112, 9.6).

    If the connection were closed immediately, data that the client still sends would reset it, and the response would
    be lost: most clients do not read one when sending fails. For use at shutdown, when aiohttp discards what it reads;
    at other times aiohttp lingers by itself.
    """
    response.force_close()
    with contextlib.suppress(OSError):  # includes TimeoutError, and a client that disconnects
        async with asyncio.timeout(LINGER_S):
            await response.prepare(request)
            await response.write_eof()
            if request.transport is None or request.transport.is_closing():
                return
            request.transport.write_eof()
            request.protocol.resume_reading()  # it is paused if the body arrived faster than it was read
            await request.content.wait_eof()
