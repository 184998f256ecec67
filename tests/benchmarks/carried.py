"""No-op jobs carried from POST to completed, a second, against what a bare handler answers at all."""

import tempfile
import time
from statistics import median

from tests.process import ROOT, ServerProcess

from .against_bare import HEADERS, JOBS, bare, load, pin
from .report import Play, Table

SECONDS = 3.0


def run(play: Play) -> Table:
    table = Table(f"No-op jobs from POST to completed a second, {play.rounds} rounds of {SECONDS:.0f} s of submissions")
    request = f"POST /jobs/noop HTTP/1.1\r\n{HEADERS}Content-Length: 2\r\n\r\n{{}}".encode()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(play.rounds):
        with (
            tempfile.TemporaryDirectory(dir=ROOT) as folder,
            ServerProcess(folder, "--jobs", str(JOBS), "--max-running", "64") as server,
        ):
            pin(server.process.pid, 0)
            answer = server.request("POST", "/jobs/noop", {}).body
            with bare(answer) as port:
                theirs.append(load(port, request, seconds=SECONDS)["per_second"])
            before = _completed(server)
            started_s = time.perf_counter()
            measured = load(server.port, request, seconds=SECONDS)
            assert set(measured["statuses"]) == {"202"}
            wanted = before + measured["statuses"]["202"]
            while (completed := _completed(server)) < wanted:
                time.sleep(0.02)
            ours.append((completed - before) / (time.perf_counter() - started_s))
    table.add(server="headway", per_second=median(ours))
    table.add(server="bare POST", per_second=median(theirs))
    table.add(server="headway/bare", per_second=median(one / other for one, other in zip(ours, theirs, strict=True)))
    return table


def _completed(server: ServerProcess) -> int:
    count: int = server.request("GET", "/jobs/stats").json["byStatus"]["completed"]
    return count
