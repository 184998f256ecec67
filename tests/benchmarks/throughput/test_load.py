"""The load generator of the throughput benchmarks."""

import asyncio
import time

from tests.benchmarks.throughput.load import run

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
RESPONSE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


async def test_a_run_that_is_shorter_than_the_first_response_still_measures_it() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(RESPONSE)
        writer.close()

    before_s = time.monotonic()
    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        found = await run(server.sockets[0].getsockname()[1], 1, 0.0, REQUEST)
    assert before_s < found["began_s"] < time.monotonic(), "the clock starts with the first connection"
    assert set(found["statuses"]) == {"202"}
    assert 0 < found["p50_ms"] <= found["p99_ms"]
