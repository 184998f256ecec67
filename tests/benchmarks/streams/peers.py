"""The Python peers: typical servers with aiohttp, aiohttp-sse and sse-starlette, one process each.

`python -m tests.benchmarks.streams.peers KIND` takes `{"head": …, "tail": …, "control": …}` (a frame's data around its
stamp, and the load generator's port, 0 if nothing is to be published) as JSON on standard input and prints its port.
All of them serve

- `GET /watch`: a stream of one source for all watchers, which publishes on demand;
- `GET /own?updates=&per_second=`: a stream with a source of its own, which publishes by the clock.

Frames are encoded as the library's users do it: once if the library allows that (bare aiohttp), and by the library for
each watcher if it takes text.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from .producing import HEARTBEAT_S, HOST, by_the_clock, on_demand, stamp

KINDS = ("aiohttp", "aiohttp-sse", "sse-starlette", "sse-starlette, tuned")

Publish = Callable[[str], Awaitable[None]]


class Frames:
    """The data of the frames, as large as Headway's."""

    def __init__(self, head: str, tail: str, control: int) -> None:
        self._head = head
        self._tail = tail
        self._control = control
        self._feeding: asyncio.Task[None] | None = None

    def feed(self, publish: Publish) -> None:
        """Publish on demand, from the first watcher on; without a control connection, publish nothing."""
        if not self._control:
            return
        self._feeding = self._feeding or asyncio.create_task(self._feed(publish))

    async def _feed(self, publish: Publish) -> None:
        async for _ in on_demand(self._control):
            await publish(self._next())

    async def own(self, query: Mapping[str, str]) -> AsyncIterator[str]:
        """The frames of a source with one watcher."""
        async for _ in by_the_clock(self._control, int(query["updates"]), float(query["per_second"])):
            yield self._next()

    def _next(self) -> str:
        return f"{self._head}{stamp()}{self._tail}"


async def serve_aiohttp(frames: Frames) -> None:
    """`StreamResponse.write` for each watcher, with bytes that are encoded once."""
    from aiohttp import web  # noqa: PLC0415 - each process needs one library

    watching: list[web.StreamResponse] = []

    async def opened(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        return response

    async def watch(request: web.Request) -> web.StreamResponse:
        watching.append(await opened(request))
        frames.feed(publish)
        await asyncio.Event().wait()
        return watching[-1]

    async def own(request: web.Request) -> web.StreamResponse:
        response = await opened(request)
        async for text in frames.own(request.query):
            await response.write(b"data: %s\n\n" % text.encode())
        return response

    async def publish(text: str) -> None:
        frame = b"data: %s\n\n" % text.encode()
        for response in watching:
            await response.write(frame)

    await _serve_app(watch, own)


async def serve_aiohttp_sse(frames: Frames) -> None:
    """`send` of aiohttp-sse in a loop; its ping is the heartbeat."""
    from aiohttp import web  # noqa: PLC0415
    from aiohttp_sse import EventSourceResponse, sse_response  # noqa: PLC0415

    watching: list[EventSourceResponse] = []

    async def watch(request: web.Request) -> web.StreamResponse:
        async with sse_response(request, sep="\n", ping_interval=HEARTBEAT_S) as response:
            watching.append(response)
            frames.feed(publish)
            await response.wait()
        return response

    async def own(request: web.Request) -> web.StreamResponse:
        async with sse_response(request, sep="\n", ping_interval=HEARTBEAT_S) as response:
            async for text in frames.own(request.query):
                await response.send(text)
        return response

    async def publish(text: str) -> None:
        for response in watching:
            await response.send(text)

    await _serve_app(watch, own)


async def _serve_app(watch: Any, own: Any) -> None:
    """Both aiohttp peers' application, on a free port."""
    from aiohttp import web  # noqa: PLC0415

    app = web.Application()
    app.router.add_get("/watch", watch)
    app.router.add_get("/own", own)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def serve_sse_starlette(frames: Frames, http: str = "h11") -> None:
    """A queue for each watcher, as in its examples, on uvicorn with its defaults (h11, asyncio's loop)."""
    import socket  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415
    from sse_starlette.sse import EventSourceResponse  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    watching: list[asyncio.Queue[str]] = []

    async def watch(request: Request) -> Response:
        queue: asyncio.Queue[str] = asyncio.Queue()
        watching.append(queue)
        frames.feed(publish)

        async def events() -> AsyncIterator[dict[str, str]]:
            while True:
                yield {"data": await queue.get()}

        return EventSourceResponse(events(), sep="\n", ping=HEARTBEAT_S)

    async def own(request: Request) -> Response:
        async def events() -> AsyncIterator[dict[str, str]]:
            async for text in frames.own(request.query_params):
                yield {"data": text}

        return EventSourceResponse(events(), sep="\n", ping=HEARTBEAT_S)

    async def publish(text: str) -> None:
        for queue in watching:
            queue.put_nowait(text)

    app = Starlette(routes=[Route("/watch", watch), Route("/own", own)])
    listening = socket.create_server((HOST, 0), backlog=1024)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, http=http, backlog=1024)
    await uvicorn.Server(config).serve(sockets=[listening])


async def serve_sse_starlette_tuned(frames: Frames) -> None:
    """The same with httptools and uvloop, which uvicorn uses if they are installed."""
    await serve_sse_starlette(frames, "httptools")


SERVE = dict(
    zip(KINDS, (serve_aiohttp, serve_aiohttp_sse, serve_sse_starlette, serve_sse_starlette_tuned), strict=True)
)
WITH_ASYNCIO = {"sse-starlette"}


async def serve(kind: str, frames: dict[str, Any]) -> None:
    await SERVE[kind](Frames(**frames))


def main() -> None:
    kind = sys.argv[1]
    frames = json.load(sys.stdin)
    import uvloop  # noqa: PLC0415 - the same loop for all, Headway included, except for those without it by default

    with asyncio.Runner(loop_factory=None if kind in WITH_ASYNCIO else uvloop.new_event_loop) as runner:
        runner.run(serve(kind, frames))


if __name__ == "__main__":
    main()
