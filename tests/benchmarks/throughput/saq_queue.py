"""The peer of the jobs benchmark: SAQ on Redis, as processes of their own.

- `python -m tests.benchmarks.throughput.saq_queue worker PORT CONCURRENCY` runs jobs until SIGTERM, then prints how
  many.
- `python -m tests.benchmarks.throughput.saq_queue client PORT SENDERS SECONDS` enqueues for this long, as fast as that
  many coroutines can, waits until all jobs are done, and prints `{"jobs": …, "seconds": …}`, the wait included.
- `python -m tests.benchmarks.throughput.saq_queue waiting-client PORT SENDERS SECONDS` has each of them wait for its
  job before it enqueues the next, and prints `{"p50_ms": …, "per_second": …}`.
"""

import asyncio
import contextlib
import json
import logging
import sys
import time
import uuid
from typing import Any

from saq import Queue, Worker
from saq.job import TERMINAL_STATUSES

from ..report import percentile

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


async def enqueue_and_wait(port: int, senders: int, seconds: float) -> None:
    jobs = queue(port, senders)
    await jobs.connect()
    await _listened_to(jobs)
    latencies_s: list[float] = []
    started_s = time.perf_counter()

    async def send() -> None:
        while (sent_s := time.perf_counter()) - started_s < seconds:
            await _done(jobs)
            latencies_s.append(time.perf_counter() - sent_s)

    async with asyncio.timeout(seconds + TIME_LIMIT_S):
        await asyncio.gather(*(send() for _ in range(senders)))
    taken_s = time.perf_counter() - started_s
    found = {"p50_ms": percentile(latencies_s, 0.5) * 1000, "per_second": len(latencies_s) / taken_s}
    print(json.dumps(found), flush=True)
    await jobs.disconnect()


async def _listened_to(jobs: Queue) -> None:
    """Return once the queue's connection for notifications has received one."""
    async with asyncio.timeout(TIME_LIMIT_S):
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    return await _done(jobs)


async def _done(jobs: Queue) -> None:
    """Enqueue a job and wait until Redis notifies of its end: `Queue.apply` would look for it every half second."""
    key = uuid.uuid4().hex
    ended = asyncio.create_task(jobs.listen([key], lambda _, status: status in TERMINAL_STATUSES, None))
    await asyncio.sleep(0)  # it listens now
    await jobs.enqueue("noop", key=key)
    await ended


def main() -> None:
    part, port, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import uvloop  # noqa: PLC0415 - the same loop for all, Headway included

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(asyncio.CancelledError):
        match part:
            case "worker":
                runner.run(work(port, at_once))
            case "client":
                runner.run(enqueue(port, at_once, float(sys.argv[4])))
            case "waiting-client":
                runner.run(enqueue_and_wait(port, at_once, float(sys.argv[4])))


if __name__ == "__main__":
    main()
