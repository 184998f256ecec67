"""Reads a stream with aiohttp-sse-client2, which reconnects after a stream has ended, but not after an error."""

import asyncio
import json
import sys

import aiohttp
from aiohttp_sse_client2.client import EventSource


async def main() -> None:
    last_event_id = ""
    while True:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            async with EventSource(sys.argv[1], headers=headers) as source:
                async for event in source:
                    sys.stdout.write(json.dumps({"event": event.type or "message", "data": event.data}) + "\n")
                    last_event_id = event.last_event_id or last_event_id
        except ConnectionAbortedError as error:  # how it reports a 204
            if "204" in str(error):
                return
            raise
        except aiohttp.ClientError:
            continue


asyncio.run(main())
