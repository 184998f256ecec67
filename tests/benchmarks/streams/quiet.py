"""One quiet job with one watcher: how soon a report is read that nobody expects, for both kinds of handler.

The job reports every third of a second, so each report comes after quiet ticks and is published at once. Measured from
the handler's call to the watcher's read: for a `def` handler that includes the way out of its process.
"""

from typing import Any

from ..report import Play, Table, median_of
from .sides import headway, watched
from .watchers import Instructions

SECONDS = 6.0
JOBS = {"async def": ("report-now-and-then", 5), "def": ("report-now-and-then-in-a-process", 10)}
"""The job type for each kind of handler, and the most milliseconds that half of its reports may take."""


def run(play: Play, seconds: float = SECONDS) -> Table:
    table = Table(f"One quiet job, a report every third of a second, {play.rounds} rounds of {seconds:g} s")
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in JOBS}
    for _ in range(play.rounds):
        for kind, (job_type, _) in JOBS.items():
            found[kind].append(_quiet(job_type, seconds))
    for kind, rounds in found.items():
        table.add(handler=kind, **{figure: median_of(rounds, figure) for figure in rounds[0]})
        table.expect(f"quiet job, {kind}: p50_ms", median_of(rounds, "p50_ms"), at_most=JOBS[kind][1])
    return table


def _quiet(job_type: str, seconds: float) -> dict[str, Any]:
    with headway() as server:
        job_id = server.submit(job_type)
        server.wait_for(job_id, "running")
        received = watched(
            Instructions(
                part="listening", port=server.port, paths=[f"/jobs/{job_id}/progress"], watchers=1, seconds=seconds,
                pids=[server.process.pid],
            )
        )  # fmt: skip
    return {"reports": received["frames"], "p50_ms": received["p50_ms"], "p99_ms": received["p99_ms"]}
