"""A closed loop in one thread, for peers whose clients are not asynchronous: it keeps a number of jobs submitted."""

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from ..report import percentile

T = TypeVar("T")


def closed_loop(submit: Callable[[], T], wait: Callable[[T], object], at_once: int, seconds: float) -> dict[str, float]:
    """Wait for the oldest job and submit another one, for this long: jobs a second, and milliseconds from end to end.

    With more than one job at once the milliseconds are too many: a job may have ended before it is waited for.
    """
    latencies_s: list[float] = []
    submitted: deque[tuple[float, T]] = deque()
    began_s = time.perf_counter()
    for _ in range(at_once):
        submitted.append((time.perf_counter(), submit()))
    while submitted:
        submitted_s, job = submitted.popleft()
        wait(job)
        now_s = time.perf_counter()
        latencies_s.append(now_s - submitted_s)
        if now_s - began_s < seconds:
            submitted.append((now_s, submit()))
    taken_s = time.perf_counter() - began_s
    return {"p50_ms": percentile(latencies_s, 0.5) * 1000, "per_second": len(latencies_s) / taken_s}
