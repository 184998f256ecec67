"""Ten thousand streams with nothing but heartbeats: the memory of each, and the CPU time of all.

The streams are opened and left idle for two and a half heartbeats; the load generator counts what each receives.
Memory is the difference between the server with all streams (the larger of beginning and end) and the same server
before. nginx pings as Headway does, the Python peers by their own timers; bare aiohttp sends none.
"""

from typing import Any

from ..processes import resident_kib
from ..report import Play, Table, median_of, median_ratio
from .producing import HEARTBEAT_S
from .sides import Side, playing, watched
from .watchers import Instructions

STREAMS = 10_000
BEATS = 2.5


def run(play: Play, streams: int = STREAMS, seconds: float = BEATS * HEARTBEAT_S) -> Table:
    table = Table(f"{streams:,} idle streams, {seconds:g} s, heartbeats {HEARTBEAT_S:g} s apart, {play.rounds} rounds")
    sides = playing(play, table)
    found: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    for _ in range(play.rounds):
        for side in sides:
            found[side.name].append(_idle(side, streams, seconds))
    for name, rounds in found.items():
        table.add(server=name, **{figure: median_of(rounds, figure) for figure in rounds[0]})
    ours = found.pop("headway", [])
    for name, rounds in found.items():
        if ours:
            table.add(server=f"headway/{name}", kib_each=median_ratio(ours, rounds, "kib_each"))
    table.expect("idle: KiB resident for each stream", median_of(ours, "kib_each"), at_most=16)
    table.expect("idle: % of a core", median_of(ours, "core_pct"), at_most=3)
    table.expect("idle: heartbeats on each stream", median_of(ours, "heartbeats_each_at_least"), at_least=2)
    return table


def _idle(side: Side, streams: int, seconds: float) -> dict[str, Any]:
    with side.quiet() as serving:
        before_kib = resident_kib(serving.pids)
        received = watched(
            Instructions(
                part="listening", port=serving.port, paths=serving.paths, watchers=streams, seconds=seconds,
                pids=serving.pids,
            )
        )  # fmt: skip
    return {
        "kib_each": (received["resident_kib"] - before_kib) / streams,
        "core_pct": 100 * received["server_cpu_s"] / received["seconds"],
        "heartbeats_each_at_least": received["least_comments"],
        "closed": received["closed"],
        "generator_core": received["generator_cpu"],
    }
