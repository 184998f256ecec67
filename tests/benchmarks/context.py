"""The cost of a `ctx.progress` call, in both kinds of handler, against `tqdm.update(1)` in the same run.

The handlers run in a real server: the async one in its loop, the other in its own process, while ticks are
published. Each times a loop of its calls and a loop of `tqdm.update(1)` with default settings.
"""

from statistics import median

from tests.support.process import ROOT, ServerProcess

from .report import Play, Table

CALLS = 300_000
JOBS = ROOT / "tests" / "benchmarks" / "benchmark_jobs.py"


def run(play: Play) -> Table:
    table = Table(f"ctx.progress against tqdm.update(1): nanoseconds per call, {play.rounds} rounds of {CALLS:,}")
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        for kind in ("async", "process"):
            job_id = server.submit(f"time-progress-{kind}", {"calls": CALLS, "rounds": play.rounds})
            job = server.wait_for(job_id)
            assert job["status"] == "completed", job["error"]
            measured = job["result"]
            for call in ("done", "done_total_message", "track"):
                progress_ns, tqdm_ns = median(measured[call]), median(measured["tqdm"])
                table.add(handler=kind, call=call, ns=progress_ns, tqdm_ns=tqdm_ns, times_tqdm=progress_ns / tqdm_ns)
    most = max(row["times_tqdm"] for row in table.rows)
    table.expect("context: a ctx.progress call, in calls of tqdm.update(1), the slowest", most, at_most=5)
    return table
