"""The peer of a comparison: an aiohttp handler that only sends one response.

`python -m tests.benchmarks.throughput.bare` takes `{"status": …, "headers": {…}, "body": …}` as JSON on standard
input and prints its port. A POST's body is read and parsed as JSON; a GET is answered immediately.
"""

import asyncio
import json
import sys
from typing import Any

from aiohttp import web


async def serve(answer: dict[str, Any]) -> None:
    status, headers, body = answer["status"], answer["headers"], answer["body"].encode()

    async def post(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.Response(body=body, status=status, headers=headers)

    async def get(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/jobs/{type}", post)
    app.router.add_get("/jobs/{id}", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    answer = json.load(sys.stdin)
    import uvloop  # noqa: PLC0415 - the same loop as the server's

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(answer))


if __name__ == "__main__":
    main()
