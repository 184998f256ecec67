"""The benchmarks that are run against both commits: one server, one load of a few seconds, one rate."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..processes import cpu_s
from ..streams.sides import control_socket, watched
from ..streams.watchers import Instructions
from ..throughput.asking import Asked, Request, has_wrk, load, wrk
from .server import PAUSE_S, TIME_LIMIT_S, Server, serving, slots

JSON = {"Content-Type": "application/json"}
WARM_S = 0.3
SUBMITTERS = 128
"""Connections that wait for a commit send nothing: this many keep both cores busy while the disk works."""
RUNNING = 64
WATCHERS = 500


@dataclass(frozen=True)
class Played:
    """One measurement: how many a second, and the server's CPU time for each."""

    per_second: float
    cpu_us_each: float


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: what it counts, and its function (of a tree, the seconds, and a folder on the disk)."""

    counts: str
    play: Callable[[Path, float, Path], Played]


def submit(tree: Path, seconds: float, disk: Path) -> Played:
    """Durable submissions while nothing is claimed."""
    request = Request("POST", "/jobs/compare-blocked", JSON, b"{}")
    with serving(tree, disk) as server:
        server.wait_for(server.submit("compare-blocked"), "running")
        return _answered(server, request, "202", SUBMITTERS, seconds)


def jobs(tree: Path, seconds: float, disk: Path) -> Played:
    """No-op jobs from POST to completed; the clock stops when the last one is done."""
    request = Request("POST", "/jobs/compare-noop", JSON, b"{}")
    with serving(tree, disk, **slots(tree, RUNNING)) as server:
        asked = Asked(server.port, server.pid)
        before = _all_completed(server, load(asked, request, seconds=WARM_S)["statuses"]["202"])
        cpu_before_s = cpu_s([server.pid])
        found = load(asked, request, seconds=seconds)
        accepted = found["statuses"]
        assert set(accepted) == {"202"}, accepted
        completed = _all_completed(server, before + accepted["202"]) - before
        taken_s, used_s = time.monotonic() - found["began_s"], cpu_s([server.pid]) - cpu_before_s
        return Played(completed / taken_s, used_s / completed * 1e6)


def poll(tree: Path, seconds: float, _disk: Path) -> Played:
    """Reads of one finished job."""
    with serving(tree) as server:
        job_id = server.submit("compare-noop")
        server.wait_for(job_id, "completed")
        return _answered(server, Request("GET", f"/jobs/{job_id}"), "200", SUBMITTERS // 2, seconds)


def stream(tree: Path, seconds: float, _disk: Path) -> Played:
    """Frames of one job with many watchers: the next as soon as 90 % have the last, with the tick limit lifted."""
    with control_socket() as (descriptor, port), serving(tree, HEADWAY_TICK_S="0") as server:
        job_id = server.submit("compare-publish", {"port": port})
        server.wait_for(job_id, "running")
        received = watched(
            Instructions(
                part="paced", port=server.port, paths=[f"/jobs/{job_id}/progress"], watchers=WATCHERS,
                seconds=seconds, pids=[server.pid], control=descriptor, warm_s=WARM_S, sample_every=20,
            )
        )  # fmt: skip
        return Played(received["frames"] / received["seconds"], received["server_cpu_s"] / received["frames"] * 1e6)


BENCHMARKS = {
    "submit": Benchmark("durable submissions", submit),
    "jobs": Benchmark("jobs from POST to completed", jobs),
    "poll": Benchmark("polls of a finished job", poll),
    "stream": Benchmark(f"frames to {WATCHERS} watchers", stream),
}


def _answered(server: Server, request: Request, status: str, connections: int, seconds: float) -> Played:
    """Responses a second, all with this status: measured by wrk for a GET if it is installed, else by `load`."""
    asked = Asked(server.port, server.pid)
    warm = load(asked, request, connections=connections, seconds=WARM_S)
    assert set(warm["statuses"]) == {status}, warm
    if request.method == "GET" and has_wrk():
        found = wrk(asked, request, connections=connections, seconds=max(1, round(seconds)))
    else:
        found = load(asked, request, connections=connections, seconds=seconds)
        assert set(found["statuses"]) == {status}, found
    return Played(found["per_second"], found["cpu_us_each"])


def _all_completed(server: Server, wanted: int) -> int:
    """How many jobs are completed once at least this many are."""
    end_s = time.monotonic() + TIME_LIMIT_S
    while (completed := server.count("completed")) < wanted:
        assert time.monotonic() < end_s, f"{completed} of {wanted} jobs were completed in time"
        time.sleep(PAUSE_S)
    return completed
