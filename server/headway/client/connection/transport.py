"""I/O, twice: a blocking transport and one for asyncio.

Everything above is written once, as coroutines. The methods of `BlockingTransport` are coroutines too, but they never
suspend: they block. So a coroutine that awaits only these can be run without an event loop, by `run` and `iterate`.
"""

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..errors import ClientClosedError, ServerUnreachableError
from .requests import FilePart, Request

if TYPE_CHECKING:
    import socket

    import httpx
    from httpx_sse import ServerSentEvent

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 60.0


class Stream(Protocol):
    """A response whose body is still to be read."""

    response: "httpx.Response"

    async def read(self) -> None:
        """Read the whole body into the response."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, decoded."""

    def events(self) -> AsyncGenerator["ServerSentEvent", None]:
        """The body as server-sent events."""


class Transport(Protocol):
    """What the coroutines above need. Each method raises `ServerUnreachableError` and `ClientClosedError`."""

    async def send(self, request: Request) -> "httpx.Response":
        """Send a request and read the whole response, whatever its status."""

    def stream(self, request: Request) -> Any:
        """A context manager: sends a request and yields a `Stream`."""

    async def pause(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that uses a `BlockingTransport` only, and so never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine suspended: it awaits more than a blocking transport")


def iterate(generator: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an async generator that uses a `BlockingTransport` only."""
    try:
        while True:
            try:
                item = run(generator.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(generator.aclose())


class BlockingTransport:
    """A connection pool for threads."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        import httpx  # noqa: PLC0415 - it takes longer to import than all of this package

        self.base_url, self._headers = base_url, headers
        self._closing = threading.Event()
        self._http = httpx.Client(base_url=base_url, headers=dict(headers), limits=httpx.Limits())
        self._open: set[socket.socket] = set()
        """Of responses that are being read: closing them wakes up the threads that read."""
        self._lock, self._in_use = threading.Lock(), 0

    async def send(self, request: Request) -> "httpx.Response":
        async with self.stream(request) as stream:
            await stream.read()
        response: httpx.Response = stream.response
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator["_BlockingStream"]:
        with _unreachable(self), self._counted(), ExitStack() as stack:
            arguments = _arguments(request, stack)
            response = stack.enter_context(self._http.stream(request.method, request.path, **arguments))
            connection = response.extensions["network_stream"].get_extra_info("socket")
            if connection is not None:
                self._open.add(connection)
                stack.callback(self._open.discard, connection)
            yield _BlockingStream(response)

    async def pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise ClientClosedError("the client was closed meanwhile")

    def again(self) -> "BlockingTransport":
        """Another one to the same server, with connections of its own."""
        return BlockingTransport(self.base_url, self._headers)

    @property
    def is_closed(self) -> bool:
        return self._closing.is_set()

    async def close(self) -> None:
        import socket  # noqa: PLC0415 - httpx has imported it

        self._closing.set()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._close_if_unused()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """One request that uses the pool. If it is the last one after `close`, the pool is closed behind it."""
        with self._lock:
            self._in_use += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use -= 1
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        # A pool that is closed under a thread never closes the connection that this thread opens or gives back.
        if self._closing.is_set() and not self._in_use:
            self._http.close()


class _BlockingStream:
    def __init__(self, response: "httpx.Response") -> None:
        self.response = response

    async def read(self) -> None:
        self.response.read()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for chunk in self.response.iter_bytes():
            yield chunk

    async def events(self) -> AsyncGenerator["ServerSentEvent", None]:
        from httpx_sse import EventSource  # noqa: PLC0415 - imports httpx

        for event in EventSource(self.response).iter_sse():
            yield event


class AsyncTransport:
    """A connection pool for asyncio."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        import httpx  # noqa: PLC0415 - see BlockingTransport

        self.base_url = base_url
        self._http = httpx.AsyncClient(base_url=base_url, headers=dict(headers), limits=httpx.Limits())

    async def send(self, request: Request) -> "httpx.Response":
        async with self.stream(request) as stream:
            await stream.read()
        response: httpx.Response = stream.response
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator["_AsyncStream"]:
        with _unreachable(self), ExitStack() as stack:
            arguments = _arguments(request, stack)
            async with self._http.stream(request.method, request.path, **arguments) as response:
                yield _AsyncStream(response)

    async def pause(self, seconds: float) -> None:
        import asyncio  # noqa: PLC0415 - scripts with threads need not wait for it

        await asyncio.sleep(seconds)

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    async def close(self) -> None:
        await self._http.aclose()


class _AsyncStream:
    def __init__(self, response: "httpx.Response") -> None:
        self.response = response

    async def read(self) -> None:
        await self.response.aread()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self.response.aiter_bytes():
            yield chunk

    def events(self) -> AsyncGenerator["ServerSentEvent", None]:
        from httpx_sse import EventSource  # noqa: PLC0415 - imports httpx

        return EventSource(self.response).aiter_sse()


@contextmanager
def _unreachable(transport: BlockingTransport | AsyncTransport) -> Iterator[None]:
    """Turns httpx's errors into the client's."""
    import httpx  # noqa: PLC0415 - the transport has imported it

    if transport.is_closed:
        raise ClientClosedError("the client has been closed")
    try:
        yield
    except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
        if transport.is_closed:
            raise ClientClosedError("the client was closed meanwhile") from error
        reason = str(error) or type(error).__name__
        raise ServerUnreachableError(f"no response from {transport.base_url}: {reason}") from error


def _arguments(request: Request, stack: ExitStack) -> dict[str, Any]:
    """What httpx is called with. Files are opened, and closed with the stack."""
    import httpx  # noqa: PLC0415 - the transport has imported it

    read_s = request.read_timeout_s
    timeout = httpx.Timeout(read_s, connect=min(CONNECT_TIMEOUT_S, read_s), write=SEND_TIMEOUT_S, pool=SEND_TIMEOUT_S)
    arguments: dict[str, Any] = {"params": dict(request.params), "headers": dict(request.headers), "timeout": timeout}
    if request.content is not None:
        arguments["content"] = request.content
        arguments["headers"]["Content-Type"] = "application/json"
    if request.parts is not None:
        parts = request.parts()
        arguments["files"] = {name: _closing(part, stack) for name, part in parts.items()}
    return arguments


def _closing(part: FilePart, stack: ExitStack) -> FilePart:
    if hasattr(part[1], "close"):
        stack.callback(part[1].close)
    return part
