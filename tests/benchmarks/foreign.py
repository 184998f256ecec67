"""The time of a 404 for another owner's job against one for an unknown job, alternately on one connection."""

import http.client
import itertools
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from tests.support.keys import bearer, make_key
from tests.support.process import ServerProcess
from tests.support.serving import TEST_JOBS

from .report import Play, Table

PAIRS = 2_000
JOBS = 50
ASKED = (
    ("GET", ""), ("GET", "/progress"), ("GET", "/result"), ("GET", "/logs"), ("GET", "/files/x"),
    ("GET", "/attempts"), ("GET", "/deliveries"), ("DELETE", ""), ("POST", "/retry"),
)  # fmt: skip


def run(play: Play) -> Table:
    """One owner requests jobs of another, which the server holds in memory, and ids that differ in some digits."""
    pairs = PAIRS * play.rounds
    table = Table(f"404 of a foreign job against an unknown one: microseconds, {pairs:,} pairs of requests each")
    with tempfile.TemporaryDirectory() as folder:
        ann, bob = make_key(Path(folder), "ann"), make_key(Path(folder), "bob")
        with ServerProcess(folder, "--jobs", str(TEST_JOBS), env={"HEADWAY_SUBMISSIONS_PER_MINUTE": "0"}) as server:
            path = "/jobs/noop?runAt=2099-01-01T00:00:00Z"
            foreign = [server.request("POST", path, {}, dict(bearer(ann))).json["jobId"] for _ in range(JOBS)]
            for method, suffix in ASKED:
                took_us = _ask(server, bob, method, suffix, foreign, pairs)
                theirs, nobodys = median(took_us["foreign"]), median(took_us["unknown"])
                table.add(asked=f"{method} {suffix}", foreign=theirs, unknown=nobodys, ratio=theirs / nobodys)
    worst = max(abs(row["ratio"] - 1) for row in table.rows)
    table.expect("foreign: the 404 of a foreign job, its medians' distance from an unknown one's", worst, at_most=0.02)
    return table


def _ask(
    server: ServerProcess, key: str, method: str, suffix: str, foreign: list[str], pairs: int
) -> dict[str, list[float]]:
    """Microseconds from the request to the complete response."""
    took_us: defaultdict[str, list[float]] = defaultdict(list)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for _, job_id in zip(range(pairs), itertools.cycle(foreign), strict=False):
        both = [("foreign", job_id), ("unknown", f"{job_id[:-12]}{random.getrandbits(48):012x}")]
        for kind, asked in random.sample(both, 2):
            began_ns = time.perf_counter_ns()
            connection.request(method, f"/jobs/{asked}{suffix}", headers=dict(bearer(key)))
            answer = connection.getresponse()
            answer.read()
            took_us[kind].append((time.perf_counter_ns() - began_ns) / 1000)
            assert answer.status == 404, answer.status
    connection.close()
    return took_us
