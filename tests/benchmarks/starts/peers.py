"""The peers: queues with workers of their own, a pool of processes, and new interpreters."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.process import ROOT, WAIT_TIMEOUT_S

from .. import redis_server
from .over_http import cores
from .window import closed_loop

CELERY = "tests.benchmarks.starts.celery_queue"
SAQ = "tests.benchmarks.throughput.saq_queue"
TUNED = ("--prefetch-multiplier", "64", "--without-gossip", "--without-mingle", "--without-heartbeat")
SAQ_CONCURRENCY = 100


def missing(*modules: str) -> str | None:
    """Why a peer that needs these modules and Redis cannot run, or `None`."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed: pip install -e '.[benchmarks]'" if absent else redis_server.missing()


@contextmanager
def celery(*options: str, **env: str) -> Iterator[int]:
    """Redis and a Celery worker with as many processes as there are cores; Redis's port."""
    with ExitStack() as stack:
        port = stack.enter_context(redis_server.running())
        stack.enter_context(_worker([CELERY, "worker", str(port), "--concurrency", str(cores()), *options], env))
        yield port


@contextmanager
def saq() -> Iterator[int]:
    """Redis and a SAQ worker, which runs coroutines; Redis's port."""
    with ExitStack() as stack:
        port = stack.enter_context(redis_server.running())
        stack.enter_context(_worker([SAQ, "worker", str(port), str(SAQ_CONCURRENCY)], {}))
        yield port


@contextmanager
def _worker(arguments: Sequence[str], env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *arguments],
        cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert any(line == "ready\n" for line in process.stdout), "the worker did not start"
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=WAIT_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()


def asked(module: str, part: str, port: int, *arguments: object) -> Any:
    """What a client of a queue prints."""
    command = [sys.executable, "-m", module, part, str(port), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)


def pool(at_once: int, seconds: float) -> dict[str, float]:
    """A `ProcessPoolExecutor`, from submission to result."""
    with ProcessPoolExecutor(cores()) as executor:
        for warming in [executor.submit(_nothing) for _ in range(2 * cores())]:
            warming.result()
        return closed_loop(lambda: executor.submit(_nothing), Future.result, at_once, seconds)


def _nothing() -> None:
    """The empty job."""


def interpreters(at_once: int, seconds: float) -> dict[str, float]:
    """New interpreters that import what a `def` job's process needs at least."""
    command = [sys.executable, "-c", "import pydantic.main"]
    with ThreadPoolExecutor(at_once) as executor:
        subprocess.run(command, check=True)
        return closed_loop(
            lambda: executor.submit(subprocess.run, command, check=True), Future.result, at_once, seconds
        )
