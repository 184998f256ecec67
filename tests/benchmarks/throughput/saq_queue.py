"""The peer of the jobs benchmark: SAQ on Redis, as processes of their own.

- `python -m tests.benchmarks.throughput.saq_queue worker PORT CONCURRENCY` runs jobs until SIGTERM, then prints how
  many.
- `python -m tests.benchmarks.throughput.saq_queue client PORT SENDERS SECONDS` enqueues for this long, as fast as that
  many coroutines can, waits until all jobs are done, and prints `{"jobs": …, "seconds": …}`, the wait included.
"""

import asyncio
import contextlib
import json
import logging
import sys
import time
from typing import Any

from saq import Queue, Worker

POLL_EVERY_S = 0.02
TIME_LIMIT_S = 120.0
"""Limits the wait for the last job, in case SAQ loses one."""


def queue(port: int, at_once: int) -> Queue:
    return Queue.from_url(f"redis://127.0.0.1:{port}", max_concurrent_ops=at_once)


async def work(port: int, concurrency: int) -> None:
    done = 0

    async def noop(_context: Any) -> None:
        nonlocal done
        done += 1

    # By default SAQ allows 20 concurrent operations on Redis.
    worker: Worker[Any] = Worker(queue(port, max(20, concurrency)), [("noop", noop)], concurrency=concurrency)
    logging.getLogger("saq").setLevel(logging.ERROR)
    print("ready", flush=True)
    await worker.start()
    print(done, flush=True)


async def enqueue(port: int, senders: int, seconds: float) -> None:
    jobs = queue(port, senders)
    await jobs.connect()
    started_s = time.perf_counter()

    async def send() -> int:
        sent = 0
        while time.perf_counter() - started_s < seconds:
            await jobs.enqueue("noop")
            sent += 1
        return sent

    sent = sum(await asyncio.gather(*(send() for _ in range(senders))))
    async with asyncio.timeout(TIME_LIMIT_S):
        while await jobs.count("incomplete"):  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(POLL_EVERY_S)
    print(json.dumps({"jobs": sent, "seconds": time.perf_counter() - started_s}), flush=True)
    await jobs.disconnect()


def main() -> None:
    part, port, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import uvloop  # noqa: PLC0415 - the same loop for all, Headway included

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(asyncio.CancelledError):
        runner.run(work(port, at_once) if part == "worker" else enqueue(port, at_once, float(sys.argv[4])))


if __name__ == "__main__":
    main()
