"""How long a `csv-report` of 300,000 rows takes with a watcher of its stream, against none."""

import csv
import io
import threading
import time
from statistics import median
from typing import Any

from tests.support.process import ServerProcess

from .report import Play, Table

ROWS = 300_000


def run(play: Play) -> Table:
    table = Table(f"csv-report of {ROWS:,} rows: run time in s, watched and unwatched in turn, {play.rounds} rounds")
    content = _orders()
    unwatched: list[float] = []
    watched: list[float] = []
    frames = 0
    with ServerProcess(":memory:") as server:
        _run_time(server, content, watch=False)  # warm-up
        for _ in range(play.rounds):
            unwatched.append(_run_time(server, content, watch=False)[0])
            seconds, frames = _run_time(server, content, watch=True)
            watched.append(seconds)
    table.add(job="unwatched", run_s=median(unwatched))
    table.add(job="watched", run_s=median(watched), frames=frames)
    ratios = [a / b for a, b in zip(watched, unwatched, strict=True)]
    table.add(job="watched/unwatched", run_s=median(ratios))
    return table


def _run_time(server: ServerProcess, content: bytes, *, watch: bool) -> tuple[float, int]:
    """Seconds from start to completion by the server's clock, and how many frames were read."""
    job_id = server.upload("csv-report", {"file": content})
    frames: list[Any] = []
    reader = threading.Thread(target=lambda: frames.extend(server.states(job_id)))
    if watch:
        reader.start()
    while (job := server.job(job_id))["completedAt"] is None:
        time.sleep(0.5)
    if watch:
        reader.join()
    assert job["result"]["rows"] == ROWS
    return _seconds(job["completedAt"]) - _seconds(job["startedAt"]), len(frames)


def _seconds(instant: str) -> float:
    hours, minutes, seconds = instant[11:-1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _orders() -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["order", "customer", "country", "amount", "paid", "day"])
    for number in range(ROWS):
        country = ("PT", "ES", "FR", "DE")[number % 4]
        day = f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
        writer.writerow(
            [number, f"customer {number % 9973}", country, f"{number % 100_003 / 7:.2f}", number % 3 > 0, day]
        )
    return text.getvalue().encode()
