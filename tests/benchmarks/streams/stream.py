"""Busy streams, Headway and its peers in turn: one job with many watchers, and many jobs with a watcher each.

**One job, 1,000 watchers, frames as fast as possible.** The method is the same for all sides, a closed loop: the load
generator requests the next frame as soon as 90 % of the watchers have the last one (see `watchers`), so that a side is
offered just what it delivers; at the end all frames that each watcher received are counted. Headway's frames come
from a handler that calls `ctx.progress`, with the tick limit lifted (otherwise it would send ten frames a second);
the peers send frames of the same size, nchan those that the generator posts. Latency is measured from the producer's
call to the watcher's read, for every 20th watcher.

The server is what is measured if its core is busy and the generator's is not saturated: both shares are in the table.
`cpu_s_per_100k` is the server's CPU time for 100,000 delivered frames, which does not depend on the generator.

**1,000 jobs, a watcher each, 10 updates a second each**, by the clock, with default ticks: all frames of all watchers
are counted, and all latencies measured.
"""

from typing import Any

from ..report import Play, Table, median_of, median_ratio
from .sides import Pace, Side, control_socket, frame_of_headway, playing, watched
from .watchers import Instructions

WATCHERS = 1_000
SECONDS = 3.0
PACE = Pace(sources=1_000, updates=50, per_second=10.0)
LATE_S = 5.0
"""How long to wait for frames after the last update is due."""

COSTS = ("p50_ms", "p99_ms", "cpu_s_per_100k", "server_core", "generator_core")
COMPARED = ("frames_per_s", "p50_ms", "p99_ms", "cpu_s_per_100k")

Found = dict[str, list[dict[str, Any]]]


def run_one_job(play: Play, watchers: int = WATCHERS, seconds: float = SECONDS) -> Table:
    """One job with many watchers."""
    table = Table(f"One job, {watchers:,} watchers, frames as fast as possible, {play.rounds} rounds of {seconds:g} s")
    sides = playing(play, table, frame_of_headway())
    found: Found = {side.name: [] for side in sides}
    for _ in range(play.rounds):
        for side in sides:
            found[side.name].append(_one_job(side, watchers, seconds))
    _report(table, found, ("frames_per_s", "delivered_pct", "bytes_per_frame"))
    for peer, figure, at_least, at_most in (
        ("sse-starlette", "frames_per_s", 5.0, None),
        ("nchan", "frames_per_s", 1.0, None),
        ("nchan", "p99_ms", None, 1.5),
    ):
        name = f"stream, one job: {figure}, headway/{peer}"
        table.expect(name, _ratio(found, peer, figure), at_least=at_least, at_most=at_most)
    least = min(median_of(rounds, "delivered_pct") or 0.0 for rounds in found.values())
    table.expect("stream, one job: % of the frames delivered, least of all sides", least, at_least=99)
    return table


def run_many_jobs(play: Play, pace: Pace = PACE) -> Table:
    """Many jobs with a watcher each."""
    table = Table(
        f"{pace.sources:,} jobs with a watcher each, {pace.per_second:g} updates a second each, "
        f"{play.rounds} rounds of {pace.updates / pace.per_second:g} s"
    )
    sides = playing(play, table, frame_of_headway())
    found: Found = {}
    for _ in range(play.rounds):
        for side in sides:
            received = _many_jobs(side, pace)
            if received is not None:
                found.setdefault(side.name, []).append(received)
    table.notes += [f"{side.name}: {side.many_sources.__doc__}" for side in sides if side.name not in found]
    _report(table, found, ("expected", "received", "delivered_pct"))
    ours = found.get("headway", [])
    table.expect("stream, many jobs: % of the frames delivered", median_of(ours, "delivered_pct"), at_least=100)
    table.expect("stream, many jobs: p50_ms", median_of(ours, "p50_ms"), at_most=10)
    table.expect("stream, many jobs: p99_ms", median_of(ours, "p99_ms"), at_most=100)
    cpu = _ratio(found, "aiohttp", "cpu_s_per_100k")
    table.expect("stream, many jobs: CPU time of a frame, headway/aiohttp", cpu, at_most=1.6)
    return table


def _report(table: Table, found: Found, figures: tuple[str, ...]) -> None:
    """A row for each side, and one for each peer's ratio."""
    for name, rounds in found.items():
        table.add(server=name, **{figure: median_of(rounds, figure) for figure in (*figures, *COSTS)})
    compared = [figure for figure in COMPARED if figure in (*figures, *COSTS)]
    for name in found:
        if name != "headway" and "headway" in found:
            table.add(server=f"headway/{name}", **{figure: _ratio(found, name, figure) for figure in compared})


def _ratio(found: Found, peer: str, figure: str) -> float | None:
    return median_ratio(found["headway"], found[peer], figure) if {"headway", peer} <= found.keys() else None


def _one_job(side: Side, watchers: int, seconds: float) -> dict[str, Any]:
    with control_socket() as (descriptor, port), side.one_source(port) as serving:
        received = watched(
            Instructions(
                part="paced", port=serving.port, paths=serving.paths, watchers=watchers, seconds=seconds,
                pids=serving.pids, control=descriptor, publish=serving.publish, sample_every=20,
            )
        )  # fmt: skip
    return {
        "frames_per_s": received["frames"] / received["seconds"],
        "delivered_pct": 100 * received["delivered"],
        "bytes_per_frame": received["bytes_per_frame"],
        **_costs(received),
    }


def _many_jobs(side: Side, pace: Pace) -> dict[str, Any] | None:
    expected = pace.sources * pace.updates
    with control_socket() as (descriptor, port):
        up = side.many_sources(port, pace)
        if up is None:
            return None
        with up as serving:
            received = watched(
                Instructions(
                    part="listening", port=serving.port, paths=serving.paths, watchers=pace.sources,
                    seconds=pace.updates / pace.per_second + LATE_S, pids=serving.pids, control=descriptor,
                    expected=expected,
                )
            )  # fmt: skip
    return {
        "expected": expected,
        "received": received["frames"],
        "delivered_pct": 100 * received["frames"] / expected,
        **_costs(received),
    }


def _costs(received: dict[str, Any]) -> dict[str, Any]:
    return {
        "p50_ms": received["p50_ms"],
        "p99_ms": received["p99_ms"],
        "cpu_s_per_100k": received["server_cpu_s"] / max(1, received["frames"]) * 100_000,
        "server_core": received["server_cpu_s"] / received["seconds"],
        "generator_core": received["generator_cpu"],
    }
