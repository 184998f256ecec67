"""Jobs that wait, submitted at once, with nothing configured: they wait side by side."""

from statistics import median

from ..report import Play, Table
from .over_http import seconds_for, serving

JOBS = 100


def run(play: Play, jobs: int = JOBS) -> Table:
    table = Table(f"{jobs} async jobs that sleep for a second, nothing configured; {play.rounds} rounds")
    taken_s = []
    for _ in range(play.rounds):
        with serving("starting_jobs") as server:
            taken_s.append(seconds_for(server, "sleeps", jobs))
    table.add(side="headway", seconds=median(taken_s))
    table.expect(f"starts: seconds until {jobs} jobs that sleep for one are done", median(taken_s), at_most=1.6)
    return table
