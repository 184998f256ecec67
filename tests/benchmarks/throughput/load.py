"""A load generator as a process of its own: as many requests as a server answers over a few persistent connections.

`python -m tests.benchmarks.throughput.load PORT CONNECTIONS SECONDS < request` sends the bytes on standard input
repeatedly and prints one JSON object. It reads responses by their Content-Length and does as little else as possible,
so that the server is what is measured.
"""

import asyncio
import json
import sys
import time
from typing import Any, cast

from ..report import percentile

FIRST_RESPONSE_S = 60.0
"""How long the first response may take."""


class Requester(asyncio.Protocol):
    """One connection: sends, waits for the complete response, and sends again."""

    def __init__(
        self, request: bytes, statuses: dict[bytes, int], latencies_s: list[float], answered: asyncio.Event
    ) -> None:
        self._request = request
        self._statuses = statuses
        self._latencies_s = latencies_s
        self._answered = answered
        self._received = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._received) < end + 4 + length:
            return
        status = head[9:12]
        if not self._statuses:
            self._answered.set()
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._latencies_s.append(time.perf_counter() - self._sent_s)
        self._received = b""
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)


async def run(port: int, connections: int, seconds: float, request: bytes) -> dict[str, Any]:
    """Send for this long after the first response; how many responses of each status were received, and how fast.

    On a busy machine the first one may take longer than a short run. `began_s` is when the first connection was made,
    by the monotonic clock, which all processes share.
    """
    loop = asyncio.get_running_loop()
    statuses: dict[bytes, int] = {}
    latencies_s: list[float] = []
    answered = asyncio.Event()
    began_s = time.monotonic()
    made = [
        await loop.create_connection(lambda: Requester(request, statuses, latencies_s, answered), "127.0.0.1", port)
        for _ in range(connections)
    ]
    async with asyncio.timeout(FIRST_RESPONSE_S):
        await answered.wait()
    before, started_s = sum(statuses.values()), time.perf_counter()
    await asyncio.sleep(seconds)
    taken_s = time.perf_counter() - started_s
    answers = sum(statuses.values()) - before
    for transport, _ in made:
        transport.abort()
    return {
        "began_s": began_s,
        "per_second": answers / taken_s,
        "statuses": {status.decode(): count for status, count in statuses.items()},
        "p50_ms": percentile(latencies_s, 0.5) * 1000,
        "p99_ms": percentile(latencies_s, 0.99) * 1000,
    }


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = sys.stdin.buffer.read()
    import uvloop  # noqa: PLC0415 - only this process needs it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(port, connections, seconds, request))))


if __name__ == "__main__":
    main()
